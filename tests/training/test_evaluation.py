"""Evaluation measures every pair it can, in the right space, and says what it left out."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_encoder import DIM, TinyEncoder
from torch import Tensor
from torch.nn import functional as F

from connectors.calibration import Calibration
from connectors.connector import Connector, ConnectorManifest
from connectors.errors import ConfigError, FingerprintMismatch
from connectors.projectors import Linear
from connectors.space import UnifiedSpace
from training.evaluation import TASKS, Measurement, evaluate_features, evaluate_media, measure
from training.feature_set import EncoderReference, write_feature_set
from training.views import Classes, View

ENCODER = EncoderReference(name="tiny/one", fingerprint="sha256:aa")


def normal(n: int, dim: int = DIM, seed: int = 0) -> Tensor:
    return F.normalize(torch.randn(n, dim, generator=torch.Generator().manual_seed(seed)), dim=1)


def rotation(seed: int = 0) -> Tensor:
    return torch.linalg.qr(torch.randn(DIM, DIM, generator=torch.Generator().manual_seed(seed))).Q


def connector(turn: Tensor, *, base: str | None = "one") -> Connector:
    """Leaf audio is turned into the base, which is left as it is."""
    head = Linear(DIM, DIM)
    head.weight.data = turn
    manifest = ConnectorManifest(
        method="ridge",
        base=base,
        dim=DIM,
        heads={"one/text": [], "one/image": [], "two/audio": ["f"]},
        projectors={"f": head.spec},
        encoders={"two": "sha256:aa"},
    )
    return Connector(manifest, {"f": head})


def view(
    name: str, native: Tensor, unified: Tensor, labels: list[str | None] | None = None, *, space: str = "one"
) -> View:
    rows = [str(i) for i in range(len(native))]
    return View(name, space, native, unified, rows, labels or [None] * len(rows))


def find(lines: list[Measurement], task: str, what: str, vectors: str = "unified") -> Measurement:
    found = [line for line in lines if (line.task, line.what, line.vectors) == (task, what, vectors)]
    assert len(found) == 1, [(line.task, line.what, line.vectors) for line in lines]
    return found[0]


def test_pairs_are_compared_by_item_and_by_label() -> None:
    x = normal(40)
    words: list[str | None] = [f"class {i % 4}" for i in range(40)]
    lines = measure("d", [view("text", x, x, words), view("image", x, x, words)], resamples=50)
    assert find(lines, "retrieval by item", "text → image").figures["R@1"].value == 1
    by_label = find(lines, "retrieval by label", "image → text")
    assert by_label.figures["R@1"].chance == pytest.approx(10 / 40)
    assert by_label.figures["mAP"].low is not None


def test_views_without_common_ids_or_labels_are_not_compared() -> None:
    first = view("text", normal(5), normal(5))
    second = View("audio", "two", normal(5), normal(5), list("abcde"), [None] * 5)
    tasks = {line.task for line in measure("d", [first, second], resamples=0)}
    assert tasks == {"modality gap", "space preserved"}


def test_a_native_space_is_measured_where_the_connector_moved_it() -> None:
    native = normal(60)
    scrambled = F.normalize(native + 1.5 * normal(60, seed=1), dim=1)
    moved = measure(
        "d", [view("text", native, scrambled), view("image", native, native)], resamples=0
    )  # C-MCR
    unified = find(moved, "retrieval by item", "text → image").figures["R@1"].value
    assert find(moved, "retrieval by item", "text → image", "native one").figures["R@1"].value == 1 > unified
    assert find(moved, "space preserved", "one text").figures["kept@10"].value < 0.9
    assert find(moved, "space preserved", "one image").figures["kept@10"].value == 1

    kept = measure("d", [view("text", native, native), view("image", native, native)], resamples=0)  # Ex-MCR
    assert not any(line.vectors.startswith("native") for line in kept)


def test_zero_shot_takes_the_labels_that_are_classes() -> None:
    names = ["dog", "cat", "rain"]
    classes = Classes(names, torch.eye(3))
    sounds = torch.eye(3)[[0, 1, 2, 0]]
    lines = measure("d", [view("audio", sounds, sounds, ["dog", "cat", "dog", None])], classes, resamples=0)
    line = find(lines, "zero-shot", "audio")
    assert line.counts == {"items": 3, "classes": 3}
    assert line.figures["acc@1"].value == pytest.approx(2 / 3)
    assert line.figures["acc@1"].chance == pytest.approx(1 / 3)


def write_features(
    root: Path,
    space: str,
    modality: str,
    vectors: Tensor,
    fingerprint: str = "aa",
    recordings: int | None = None,
) -> None:
    groups = [{} if recordings is None else {"group": f"r{i % recordings}"} for i in range(len(vectors))]
    write_feature_set(
        root / f"{space}-{modality}",
        space=space,
        modality=modality,  # type: ignore[arg-type]
        encoder=EncoderReference(name="tiny/one", fingerprint=f"sha256:{fingerprint}"),
        vectors=vectors,
        items=[{"id": str(i), "label": f"c{i % 5}", **group} for i, group in enumerate(groups)],
    )


def test_a_connector_is_measured_on_feature_sets(tmp_path: Path) -> None:
    x, turn = normal(50), rotation()
    write_features(tmp_path / "feats", "one", "image", x)
    write_features(tmp_path / "feats", "two", "audio", x @ turn)
    write_features(tmp_path / "feats", "three", "text", x)  # no head: left aside
    connector(turn).save(tmp_path / "right")
    connector(rotation(1)).save(tmp_path / "wrong")
    right, wrong = (
        evaluate_features([tmp_path / name], tmp_path / "feats", resamples=0) for name in ("right", "wrong")
    )
    what = ("retrieval by item", "one/image → two/audio")
    assert find(list(right.measurements), *what).figures["R@1"].value == 1
    assert find(list(wrong.measurements), *what).figures["R@1"].value < 0.2
    assert json.loads(json.dumps(right.json()))["measurements"][0]["figures"]["R@1"][
        "chance"
    ] == pytest.approx(0.02)


def test_intervals_draw_whole_recordings_where_the_items_name_them(tmp_path: Path) -> None:
    """The same vectors and figures: only what is known of where they come from differs."""
    turn = rotation()
    connector(turn).save(tmp_path / "c")
    sounds = normal(20)[torch.arange(200) % 20]
    widths, values = {}, {}
    for recordings in (20, None):
        feats = tmp_path / f"feats-{recordings}"
        write_features(feats, "one", "image", normal(200, seed=1), recordings=recordings)
        write_features(feats, "two", "audio", sounds @ turn, recordings=recordings)
        lines = evaluate_features([tmp_path / "c"], feats).measurements
        figure = find(list(lines), "retrieval by label", "two/audio → one/image").figures["mAP"]
        assert figure.low is not None
        assert figure.high is not None
        widths[recordings], values[recordings] = figure.high - figure.low, figure.value

    assert values[20] == values[None]
    assert widths[20] > 2 * widths[None]


def test_captions_of_one_picture_are_drawn_together() -> None:
    captions = View("text", "one", normal(4), normal(4), ["a", "a", "b", "c"], [None] * 4)
    grouped = View("text", "one", normal(3), normal(3), ["a", "b", "c"], [None] * 3, ["x", "x", None])

    assert captions.clusters() == ["a", "a", "b", "c"]
    assert grouped.clusters() == ["x", "x", "c"]


def test_features_of_another_encoder_are_refused(tmp_path: Path) -> None:
    write_features(tmp_path / "feats", "one", "image", normal(5))
    write_features(tmp_path / "feats", "two", "audio", normal(5), fingerprint="bb")
    connector(rotation()).save(tmp_path / "c")
    with pytest.raises(FingerprintMismatch):
        evaluate_features([tmp_path / "c"], tmp_path / "feats")


def test_two_sets_of_one_modality_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    turn = rotation()
    connector(turn).save(tmp_path / "c")
    write_features(tmp_path / "feats", "one", "image", normal(50))
    for part in ("train", "test"):
        write_features(tmp_path / "feats" / part, "two", "audio", normal(50) @ turn)
        (tmp_path / "feats" / part / "two-audio").rename(tmp_path / "feats" / part / f"{part}-audio")
    lines = evaluate_features([tmp_path / "c"], tmp_path / "feats", resamples=0).measurements
    whats = [line.what for line in lines if line.task == "retrieval by item"]

    assert "one/image → two/audio (test-audio)" in whats
    assert len(whats) == 6 + 2  # those of one space are compared in their own space too
    assert len(set(whats)) == 6
    assert list(dict.fromkeys(line.task for line in lines)) == [task for task in TASKS if task != "zero-shot"]


def test_features_that_are_no_numbers_are_refused_by_name(tmp_path: Path) -> None:
    broken = normal(5)
    broken[3] = torch.nan
    write_features(tmp_path / "feats", "one", "image", normal(5))
    write_features(tmp_path / "feats", "two", "audio", broken)
    connector(rotation()).save(tmp_path / "c")
    with pytest.raises(ConfigError, match=r"two-audio: 1 of 5 .* the first at row 3; extract these"):
        evaluate_features([tmp_path / "c"], tmp_path / "feats")


def test_a_folder_without_fitting_features_says_which_heads_there_are(tmp_path: Path) -> None:
    write_features(tmp_path / "feats", "three", "text", normal(5))
    connector(rotation()).save(tmp_path / "c")
    with pytest.raises(ConfigError, match="two/audio"):
        evaluate_features([tmp_path / "c"], tmp_path / "feats")


def write_dataset(root: Path) -> None:
    """Twelve things in two classes, as picture and two captions each, and one broken picture."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(12):
        pixels = rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / f"{i}.png")
        label = "ab"[i % 2]
        rows.append({"id": str(i), "label": label, "image": f"{i}.png", "text": [f"one {i}", f"two {i}"]})
    (root / "3.png").write_bytes(b"broken")
    (root / "dataset.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def tiny_space(encoder: TinyEncoder) -> UnifiedSpace:
    return UnifiedSpace(
        name="tiny",
        encoders={"one": encoder},
        serve={"text": "one", "image": "one"},
        connectors=[connector(rotation())],
        calibration=Calibration.none(),
    )


def test_media_are_embedded_once_and_bad_ones_listed(tmp_path: Path) -> None:
    write_dataset(tmp_path)
    encoder = TinyEncoder()
    seen: list[tuple[int, int]] = []
    result = evaluate_media(
        tiny_space(encoder), tmp_path, resamples=0, on_progress=lambda *now: seen.append(now)
    )
    assert seen[-1] == (12 + 24 + 2, 12 + 24 + 2)
    assert encoder.encoded == 11 + 24 + 2
    assert [skip.example.source for skip in result.skipped] == [tmp_path / "3.png"]
    lines = list(result.measurements)
    to_image = find(lines, "retrieval by item", "text → image")
    assert to_image.counts == {"queries": 22, "targets": 11, "queries without a match": 2}
    assert find(lines, "zero-shot", "image").counts == {"items": 11, "classes": 2}
    assert result.json()["skipped"][0]["error"] == "invalid_media"


def test_a_dataset_the_space_embeds_nothing_of_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "dataset.jsonl").write_text('{"audio": "a.wav"}\n')
    with pytest.raises(ConfigError, match=r"nothing in .* can be compared"):
        evaluate_media(tiny_space(TinyEncoder()), tmp_path)

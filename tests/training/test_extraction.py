"""Extraction makes one vector an item whatever goes wrong: bad files, kills, changed inputs."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_encoder import TinyEncoder
from waiting import until

from connectors.errors import ConfigError
from training.examples import Example
from training.extraction import extract, read_skipped
from training.feature_set import open_feature_set
from training.inputs import read_inputs

TEXTS = [Example(str(i), text=f"item number {i}") for i in range(103)]

RUN_THAT_STOPS_MIDWAY = """
import sys, threading
from pathlib import Path
from tiny_encoder import TinyEncoder
from waiting import until
from training.examples import Example
from training.extraction import extract

TEXTS = [Example(str(i), text=f"item number {i}") for i in range(103)]

class StopsMidway(TinyEncoder):
    def encode_prepared(self, batch):
        if self.encoded >= 60:
            threading.Event().wait()
        return super().encode_prepared(batch)

extract(StopsMidway(), "text", TEXTS, Path(sys.argv[1]), space="t", shard_size=10, batch_size=4)
"""


def write_images(folder: Path, count: int) -> None:
    rng = np.random.default_rng(0)
    for i in range(count):
        pixels = rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:02d}.png")


def test_vectors_are_the_encoders_own_in_the_inputs_order(tmp_path: Path) -> None:
    made = extract(TinyEncoder(), "text", TEXTS, tmp_path / "f", space="t", shard_size=10, batch_size=4)
    expected = TinyEncoder().encode([str(e.text) for e in TEXTS], "text")
    torch.testing.assert_close(made.tensor(), expected)
    assert made.items == [{"id": e.id, "text": e.text} for e in TEXTS]
    assert made.manifest.encoder.fingerprint == TinyEncoder().fingerprint
    assert not (tmp_path / "f.shards").exists()


def test_half_precision_is_stored_as_such(tmp_path: Path) -> None:
    made = extract(TinyEncoder(), "text", TEXTS, tmp_path / "f", space="t", dtype="float16")
    assert made.vectors.dtype == np.float16
    whole = TinyEncoder().encode([str(e.text) for e in TEXTS], "text")
    torch.testing.assert_close(made.tensor(), whole, atol=1e-3, rtol=0)


def test_bad_files_are_left_out_and_listed(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    write_images(folder, 7)
    (folder / "03.png").write_bytes(b"no picture")
    (folder / "05.png").write_bytes(b"")
    made = extract(
        TinyEncoder(), "image", read_inputs(folder, "image"), tmp_path / "f",
        space="t", root=folder, shard_size=4, batch_size=3,
    )  # fmt: skip
    assert [item["source"] for item in made.items] == ["00.png", "01.png", "02.png", "04.png", "06.png"]
    skipped = read_skipped(tmp_path / "f")
    assert [skip["source"] for skip in skipped] == ["03.png", "05.png"]
    assert all(skip["error"] == "invalid_media" and skip["message"] for skip in skipped)


def test_nothing_usable_is_an_error_that_tells_the_first_reason(tmp_path: Path) -> None:
    examples = [Example("a", source=tmp_path / "a.png")]
    with pytest.raises(ConfigError, match=r"none of 1 items could be used; the first: .*a\.png"):
        extract(TinyEncoder(), "image", examples, tmp_path / "f", space="t")
    assert not (tmp_path / "f").exists()


def test_killed_it_goes_on_without_redoing_or_doubling(tmp_path: Path) -> None:
    output = tmp_path / "f"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    child = subprocess.Popen([sys.executable, "-c", RUN_THAT_STOPS_MIDWAY, str(output)], env=environment)

    def finished_shards() -> int:
        return len(list(tmp_path.glob("f.shards/[0-9]*/vectors.npy")))

    until(lambda: finished_shards() >= 3, failed=lambda: child.poll() is not None)
    child.send_signal(signal.SIGKILL)
    child.wait()
    finished = finished_shards()
    assert finished <= 6
    assert not output.exists()

    encoder = TinyEncoder()
    seen: list[tuple[int, int]] = []
    made = extract(
        encoder,
        "text",
        TEXTS,
        output,
        space="t",
        shard_size=10,
        batch_size=4,
        on_progress=lambda *now: seen.append(now),
    )
    assert encoder.encoded == len(TEXTS) - 10 * finished
    assert (seen[0], seen[-1]) == ((10 * finished, len(TEXTS)), (len(TEXTS), len(TEXTS)))
    assert [item["id"] for item in made.items] == [e.id for e in TEXTS]
    torch.testing.assert_close(made.tensor(), TinyEncoder().encode([str(e.text) for e in TEXTS], "text"))
    assert list(tmp_path.iterdir()) == [output]


def test_a_finished_set_is_not_made_again(tmp_path: Path) -> None:
    extract(TinyEncoder(), "text", TEXTS, tmp_path / "f", space="t")
    (tmp_path / "f.shards").mkdir()  # as a kill between the last two steps leaves it
    again = TinyEncoder()
    assert len(extract(again, "text", TEXTS, tmp_path / "f", space="t")) == len(TEXTS)
    assert again.encoded == 0
    assert not (tmp_path / "f.shards").exists()


def test_another_plan_is_refused_and_says_what_changed(tmp_path: Path) -> None:
    extract(TinyEncoder(), "text", TEXTS, tmp_path / "f", space="t")
    with pytest.raises(ConfigError, match="examples was 103, is 3"):
        extract(TinyEncoder(), "text", TEXTS[:3], tmp_path / "f", space="t")
    with pytest.raises(ConfigError, match="encoder was"):
        extract(TinyEncoder(seed=1), "text", TEXTS, tmp_path / "f", space="t")
    shards = tmp_path / "g.shards"
    shards.mkdir()
    (shards / "plan.json").write_text((tmp_path / "f" / "plan.json").read_text())
    with pytest.raises(ConfigError, match="dtype was float32, is float16"):
        extract(TinyEncoder(), "text", TEXTS, tmp_path / "g", space="t", dtype="float16")


def test_a_directory_of_something_else_is_never_touched(tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "thesis.txt").write_text("precious")
    with pytest.raises(ConfigError, match="not made by"):
        extract(TinyEncoder(), "text", TEXTS, tmp_path / "f", space="t")
    assert (tmp_path / "f" / "thesis.txt").read_text() == "precious"


def test_the_same_items_in_two_spaces_have_one_hash(tmp_path: Path) -> None:
    one = extract(TinyEncoder(), "text", TEXTS, tmp_path / "a", space="a", shard_size=10)
    two = extract(TinyEncoder(seed=1), "text", TEXTS, tmp_path / "b", space="b", shard_size=50)
    assert one.manifest.items_sha256 == two.manifest.items_sha256


def test_items_stay_readable_by_anyone(tmp_path: Path) -> None:
    extract(TinyEncoder(), "text", TEXTS[:2], tmp_path / "f", space="t")
    lines = (tmp_path / "f" / "items.jsonl").read_text().splitlines()
    assert json.loads(lines[1]) == {"id": "1", "text": "item number 1"}
    assert len(open_feature_set(tmp_path / "f")) == 2

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from connectors import load_encoder
from connectors.encoders.compact.encoder import (
    TRUNKS,
    CompactConfig,
    TowerConfig,
    config_bytes,
    load_compact,
    make_head,
)
from connectors.encoders.compact.shape_trunk import GROUPS, POINTS, prepare_points, spread_first
from connectors.encoders.compact.sound_patches import MOST_PATCHES
from connectors.encoders.compact.word_tower import MOST_TOKENS, make_tokenizer, token_ids
from connectors.errors import CheckpointError, ConfigError, IntegrityError, InvalidMedia, MissingFiles

VOCABULARY = ["[PAD]", "[UNK]", "a", "b", "dog", "##s", "bark", "##ing", "the", "of", "sound"]
TOWERS = {
    "text": (
        {"tokens": len(VOCABULARY), "dim": 16, "layers": 2, "heads": 2, "hidden": 32, "features": 8},
        [8, 8],
    ),
    "image": (
        {
            "channels": 3,
            "opening": [8, 8, 8],
            "blocks": [[8, 1], [16, 2], [16, 2], [16, 2]],
            "neck": 16,
            "features": 24,
            "expansion": 2,
        },
        [24, 8],
    ),
    "audio": (
        {"channels": 1, "opening": [8, 8, 16, 8], "wide": [[16, 2, 16]], "deep": [[16, 2, 8], [24, 2, 8]]},
        [24, 8],
    ),
    "point_cloud": ({"width": 16, "features": 32}, [32, 8]),
}


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A space with all four towers, randomly initialised, written as the bundle writes them."""
    from hashlib import sha256

    root = tmp_path_factory.mktemp("space")
    (root / "vocabulary.txt").write_text("\n".join(VOCABULARY) + "\n")
    torch.manual_seed(0)
    towers = {}
    for name, (trunk, head) in TOWERS.items():
        save_file(TRUNKS[name](**trunk).state_dict(), root / f"{name}-trunk.safetensors")
        save_file(make_head(head).state_dict(), root / f"{name}.safetensors")
        towers[name] = TowerConfig(
            trunk=trunk,
            trunk_file=f"{name}-trunk.safetensors",
            head=head,
            head_file=f"{name}.safetensors",
            vocabulary_file="vocabulary.txt" if name == "text" else None,
        )
    digests = {p.name: sha256(p.read_bytes()).hexdigest() for p in root.iterdir()}
    config = CompactConfig(space="tiny", dim=8, towers=towers, sha256=digests)
    (root / "config.json").write_bytes(config_bytes(config))
    return root


def media(seed: int) -> dict[str, list[object]]:
    rng = np.random.default_rng(seed)
    return {
        "text": ["a dog", "the sound of barking dogs", "b"],
        "image": [
            Image.fromarray(rng.integers(0, 255, size, dtype=np.uint8))
            for size in ((40, 90, 3), (128, 128, 3), (300, 201, 3))
        ],
        "audio": [rng.normal(0, 0.1, n).astype(np.float32) for n in (48_000, 200_000, 999)],
        "point_cloud": [
            rng.normal(0, s, (n, 3)).astype(np.float32) for n, s in ((32, 1), (5000, 90), (1500, 1))
        ],
    }


@pytest.mark.parametrize("modality", list(TOWERS))
def test_an_item_has_the_same_unit_vector_alone_and_in_a_batch(space: Path, modality: str) -> None:
    encoder = load_compact(space)
    items = media(1)[modality]
    together = encoder.encode(items, modality)
    alone = torch.cat([encoder.encode([item], modality) for item in items])
    assert together.shape == (3, 8) and together.dtype == torch.float32
    assert torch.allclose(together.norm(dim=1), torch.ones(3), atol=1e-5)
    assert (together * alone).sum(dim=1).min() >= 0.9999
    assert torch.equal(together, load_compact(space).encode(items, modality))


def test_towers_can_be_loaded_one_by_one_without_changing_the_fingerprint(space: Path) -> None:
    whole, part = load_compact(space), load_compact(space, ["audio"])
    assert part.modalities == ("audio",)
    assert part.fingerprint == whole.fingerprint
    item = media(2)["audio"][:1]
    assert torch.equal(part.encode(item), whole.encode(item, "audio"))
    assert sum(p.numel() for p in part.parameters()) < sum(p.numel() for p in whole.parameters())


def test_the_registry_loads_a_space_from_a_directory(space: Path) -> None:
    encoder = load_encoder("compact/tiny", space, towers=("text",))
    assert encoder.name == "compact/tiny" and encoder.dim == 8


def test_a_cloud_may_be_of_any_scale_and_place(space: Path) -> None:
    encoder = load_compact(space, ["point_cloud"])
    cloud = media(3)["point_cloud"][1]
    moved = (cloud * 1000 + np.array([7e4, -3e4, 1e4])).astype(np.float32)
    a, b = encoder.encode([cloud, moved])
    assert float(a @ b) > 0.999


def test_leading_points_are_far_from_each_other() -> None:
    rng = np.random.default_rng(0)
    cloud = np.concatenate([rng.normal(0, 0.01, (POINTS - 8, 3)), np.eye(8, 3) * 5]).astype(np.float32)
    led = spread_first(cloud)
    assert led.shape == cloud.shape
    assert np.array_equal(np.sort(led, axis=0), np.sort(cloud, axis=0))
    assert sum(np.linalg.norm(p) > 4 for p in led[:4]) == 3
    assert prepare_points(cloud).shape == (1, POINTS, 3) and GROUPS < POINTS


def test_long_sound_is_heard_in_a_bounded_number_of_patches(space: Path) -> None:
    encoder = load_compact(space, ["audio"])
    long = np.random.default_rng(0).normal(0, 0.1, 48_000 * 120).astype(np.float32)
    assert len(encoder.prepare(long).rows) == MOST_PATCHES


@pytest.mark.parametrize(
    ("modality", "item", "reason"),
    [
        ("text", "   ", "empty"),
        ("audio", np.zeros(0, dtype=np.float32), "no samples"),
        ("audio", np.array([0.0, np.nan], dtype=np.float32), "not numbers"),
        ("point_cloud", np.zeros((31, 3), dtype=np.float32), "32"),
        ("point_cloud", np.ones((64, 3), dtype=np.float32), "one place"),
        ("point_cloud", np.full((64, 3), np.inf, dtype=np.float32), "not numbers"),
        ("image", "a dog", "str"),
    ],
)
def test_media_that_cannot_be_embedded_say_why(space: Path, modality: str, item: object, reason: str) -> None:
    with pytest.raises(InvalidMedia, match=reason):
        load_compact(space).prepare(item, modality)


def test_words_outside_the_vocabulary_are_read_in_pieces() -> None:
    tokenizer = make_tokenizer(VOCABULARY)
    assert tokenizer.encode("Barking DOGS").tokens == ["bark", "##ing", "dog", "##s"]
    assert token_ids(tokenizer, "日本") == [1, 1]
    assert token_ids(tokenizer, "​") == [1]


@pytest.mark.parametrize("words", [1, 24, 25, 900])
def test_tokens_past_the_context_are_counted(space: Path, words: int) -> None:
    prepared = load_compact(space, ["text"]).prepare("dogs " * words, "text")  # "dog" and "##s"
    assert prepared.length == prepared.rows.shape[1] == min(2 * words, MOST_TOKENS)
    assert prepared.given == (2 * words if 2 * words > MOST_TOKENS else None)


@pytest.mark.parametrize(
    ("text", "understood"),
    [
        ("a dog", True),
        ("日本 dogs", True),
        ("日本", False),
        ("привет", False),
        ("cat", False),
        ("🐕", False),
        ("?!", False),
        ("cat " * MOST_TOKENS + "dog", False),  # nothing is read of the dog
    ],
)
def test_a_text_of_which_no_word_is_known_is_told(space: Path, text: str, understood: bool) -> None:
    assert load_compact(space, ["text"]).prepare(text, "text").understood is understood


def test_damaged_missing_and_unfitting_files_are_told_apart(space: Path, tmp_path: Path) -> None:
    import shutil

    with pytest.raises(MissingFiles, match=r"config\.json"):
        load_compact(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="towers"):
        load_compact(space, ["smell"])
    copy = tmp_path / "copy"
    shutil.copytree(space, copy)
    (copy / "audio.safetensors").write_bytes(b"x" + (copy / "audio.safetensors").read_bytes()[1:])
    with pytest.raises(IntegrityError, match="sha256"):
        load_compact(copy)
    load_compact(copy, ["text"])
    (copy / "text.safetensors").unlink()
    with pytest.raises(MissingFiles, match="text"):
        load_compact(copy, ["text"])
    config = json.loads((space / "config.json").read_text())
    config["towers"]["image"]["trunk"]["features"] = 25
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="does not fit"):
        load_compact(copy, ["image"])

"""A feature set comes back as it was written, and says so when it does not."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from connectors.errors import ConfigError, IntegrityError, MissingFiles
from training.feature_set import EncoderReference, FeatureSet, open_feature_set, write_feature_set

ENCODER = EncoderReference(name="compact/clap", fingerprint="sha256:aa")
ITEMS = [{"id": str(i), "text": f"Töne {i}"} for i in range(4)]
VECTORS = F.normalize(torch.randn(4, 6, generator=torch.Generator().manual_seed(0)), dim=-1)


def write(path: Path, space: str = "clap", count: int = 4) -> FeatureSet:
    return write_feature_set(
        path, space=space, modality="text", encoder=ENCODER, vectors=VECTORS, items=ITEMS[:count]
    )


def test_vectors_and_items_come_back(tmp_path: Path) -> None:
    write(tmp_path / "f")
    opened = open_feature_set(tmp_path / "f")
    assert torch.equal(opened.tensor(), VECTORS)
    assert opened.items == ITEMS
    assert len(opened) == 4


def test_the_same_items_in_two_spaces_carry_the_same_hash(tmp_path: Path) -> None:
    first, second = write(tmp_path / "a"), write(tmp_path / "b", space="clip")
    assert first.manifest.items_sha256 == second.manifest.items_sha256


def test_exchanged_items_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "f")
    items = tmp_path / "f" / "items.jsonl"
    items.write_bytes(items.read_bytes().replace(b"0", b"9"))
    with pytest.raises(IntegrityError, match=r"items\.jsonl"):
        open_feature_set(tmp_path / "f")


def test_truncated_vectors_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "f")
    vectors = tmp_path / "f" / "vectors.npy"
    vectors.write_bytes(vectors.read_bytes()[:-8])
    with pytest.raises(IntegrityError, match=r"vectors\.npy"):
        open_feature_set(tmp_path / "f")


def test_a_folder_that_is_no_feature_set_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingFiles, match=r"manifest\.json"):
        open_feature_set(tmp_path)


def test_one_item_a_vector(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="3 items for 4 vectors"):
        write(tmp_path / "f", count=3)

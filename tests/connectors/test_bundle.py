"""A bundle loads whole or says what is wrong; the shipped one gives the same vectors on every call."""

import json
import shutil
from pathlib import Path

import pytest
import samples
import torch

from connectors import load_bundle, load_encoder
from connectors.bundle import SHIPPED, bundle_directory, load_bundle_encoder
from connectors.errors import ConfigError, FingerprintMismatch, IntegrityError, MissingFiles
from connectors.modality import Modality
from connectors.space import UnifiedSpace

TEXTS = ["a dog barks", "rain", "a wooden chair by the window of an old house", "train"]

FILES: dict[Modality, bytes] = {
    "text": b"a dog barks",
    "image": samples.image_file(samples.picture(), "PNG"),
    "audio": samples.sound_file(samples.tone()),
    "point_cloud": samples.npy(samples.points()),
}


@pytest.fixture(scope="module")
def compact() -> UnifiedSpace:
    return load_bundle("compact")


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of the shipped bundle, to be broken."""
    return Path(shutil.copytree(SHIPPED / "compact", tmp_path / "copy"))


def test_compact_serves_four_modalities_in_one_space(compact: UnifiedSpace) -> None:
    assert compact.modalities == ("text", "image", "audio", "point_cloud")
    for modality, data in FILES.items():
        vector = compact.embed(modality, [data])
        assert vector.shape == (1, compact.dim)
        torch.testing.assert_close(vector.norm(dim=-1), torch.ones(1))


def test_the_same_text_has_the_same_vector_alone_in_a_batch_and_after_a_restart(
    compact: UnifiedSpace,
) -> None:
    together = compact.embed("text", TEXTS)
    alone = torch.cat([compact.embed("text", [text]) for text in TEXTS])
    again = load_bundle("compact").embed("text", TEXTS)
    assert (together * alone).sum(-1).min() > 0.9999
    assert torch.equal(together, again)


def test_another_connector_set_is_chosen_by_name(compact: UnifiedSpace) -> None:
    other = load_bundle("compact", connectors="cmcr")
    assert other.connector_version != compact.connector_version
    assert "point_cloud" not in other.modalities
    with pytest.raises(ConfigError, match="'magic'"):
        load_bundle("compact", connectors="magic")


def test_the_bundle_keeps_to_its_size() -> None:
    total = sum(path.stat().st_size for path in (SHIPPED / "compact").rglob("*") if path.is_file())
    assert total <= 25_000_000


def test_towers_that_only_training_needs_load_when_asked_for() -> None:
    encoder = load_bundle_encoder(bundle_directory("compact"), "clap", ("text",))
    assert encoder.encode(["rain"], "text").shape == (1, encoder.dim)


def test_a_bundle_that_is_not_there_says_where_it_was_looked_for() -> None:
    with pytest.raises(MissingFiles, match=r"nowhere.bundle\.toml"):
        load_bundle("nowhere")


def test_an_encoder_of_no_known_family_is_refused() -> None:
    with pytest.raises(ConfigError, match="'magic/encoder'"):
        load_encoder("magic/encoder")


@pytest.mark.parametrize(
    ("written", "instead", "said"),
    [
        ('default = "exmcr"', 'default = "magic"', "default is 'magic'"),
        ('audio = "clap"', 'audio = "claptrap"', "claptrap"),
        ('name = "compact"\n', 'name = "compact"\ncolour = "blue"\n', "colour"),
        ('name = "compact"\n', "name = \n", r"bundle\.toml"),
    ],
)
def test_a_wrong_manifest_is_refused_with_the_reason(
    copied: Path, written: str, instead: str, said: str
) -> None:
    manifest = copied / "bundle.toml"
    text = manifest.read_text()
    assert written in text
    manifest.write_text(text.replace(written, instead, 1))
    with pytest.raises(ConfigError, match=said):
        load_bundle(copied)


def test_damaged_connectors_are_refused(copied: Path) -> None:
    weights = copied / "connectors" / "exmcr-clap" / "connector.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    with pytest.raises(IntegrityError, match="exmcr-clap"):
        load_bundle(copied)


def test_a_connector_of_other_encoders_is_refused(copied: Path) -> None:
    path = copied / "connectors" / "exmcr-clap" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["encoders"]["clap"] = "sha256:" + "0" * 64
    path.write_text(json.dumps(manifest))
    with pytest.raises(FingerprintMismatch, match="clap"):
        load_bundle(copied)

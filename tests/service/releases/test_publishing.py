"""Connectors are published to a data directory that no service uses, and activated for its next start."""

from pathlib import Path

import pytest
import torch
from tiny_encoders import DIMS, write_bundle, write_connector
from torch.nn import functional as F
from typer.testing import CliRunner

from connectors.bundle import load_bundle
from connectors.errors import ConfigError, FingerprintMismatch, IntegrityError
from service.cli import publish_trained
from service.errors import NotFound, ServiceError
from service.releases.publishing import DataDirectory, RunningService, former_of, target_of
from service.releases.startup import fingerprints_of
from service.releases.store import Active, ReleaseStore, check_encoders
from training.commands import app
from training.feature_set import EncoderReference, write_feature_set


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = write_bundle(tmp_path / "bundle")
    monkeypatch.setenv("ISTHMUS_BUNDLE", str(made))
    (tmp_path / "data").mkdir()
    return made


@pytest.fixture
def store(bundle: Path, tmp_path: Path) -> ReleaseStore:
    return ReleaseStore(tmp_path / "data" / "connectors", bundle)


def shown(job: dict[str, object]) -> None:
    raise AssertionError("there is no job without a service")


def test_a_data_directory_is_published_to_activated_and_rolled_back(bundle: Path, tmp_path: Path) -> None:
    target = target_of(str(tmp_path / "data"))
    assert isinstance(target, DataDirectory)
    first = target.listing().active
    with pytest.raises(ServiceError, match="nothing to go back to"):
        former_of(target)
    second = target.publish([write_connector(tmp_path / "new", "ulip", seed=5)])
    assert target.listing().active == first != second
    assert "when it starts next" in target.activate(second, shown)
    assert (target.listing().active, former_of(target)) == (second, first)
    target.activate(former_of(target), shown)
    assert (target.listing().active, former_of(target)) == (first, second)
    with pytest.raises(NotFound):
        target.activate("exmcr-000000000000", shown)
    with pytest.raises(NotFound):
        target_of(str(tmp_path / "nowhere"))


def test_a_service_that_is_not_there_is_said_to_be_so() -> None:
    target = target_of("http://127.0.0.1:9")
    assert isinstance(target, RunningService)
    with pytest.raises(ServiceError, match="no service answers at http"):
        target.listing()


def test_a_connector_takes_the_place_of_its_leafs_and_the_others_stay(
    store: ReleaseStore, tmp_path: Path
) -> None:
    bundled = store.bundled(None)
    clap, ulip = bundled.manifests
    new_ulip = write_connector(tmp_path / "ulip", "ulip", seed=5)
    new_clap = write_connector(tmp_path / "clap", "clap", seed=6)
    one = store.publish([new_ulip], bundled)
    assert one.manifests[0] == clap and one.manifests[1] not in (clap, ulip)
    both = store.publish([new_clap], one)
    assert both.manifests[1] == one.manifests[1]
    assert store.publish([new_clap, new_ulip], bundled).version == both.version
    assert [each.version for each in store.all()] == [one.version, both.version, bundled.version]


def test_calibration_comes_with_a_connector_or_is_inherited(store: ReleaseStore, tmp_path: Path) -> None:
    own = write_connector(tmp_path / "own", "ulip", seed=5)
    (own / "calibration.json").write_text('{"pairs": {"text->text": {"slope": 3, "bias": 1}}}')
    first = store.publish([own], store.bundled(None))
    assert first.calibrated and first.calibration.read_bytes() == (own / "calibration.json").read_bytes()
    second = store.publish([write_connector(tmp_path / "bare", "clap", seed=6)], first)
    assert not second.calibrated
    assert second.calibration.read_bytes() == first.calibration.read_bytes()
    (own / "calibration.json").write_text("{}")
    with pytest.raises(ConfigError, match="calibration"):
        store.publish([own], store.bundled(None))


def test_what_was_served_is_kept_with_its_encoders(store: ReleaseStore, tmp_path: Path) -> None:
    bundled = store.bundled(None)
    assert bundled.encoders is None
    store.keep(bundled, {"clip": "sha256:a", "ulip": "sha256:b"})
    write_bundle(tmp_path / "bundle", seed=9)
    kept = store.find(bundled.version)
    assert (kept.version, kept.encoders) == (bundled.version, {"clip": "sha256:a", "ulip": "sha256:b"})
    store.keep(kept, {"clip": "sha256:a"})
    with pytest.raises(FingerprintMismatch, match="sha256:b"):
        check_encoders(kept, {"ulip": "sha256:c"})
    assert store.bundled(None).version != bundled.version


def test_a_damaged_release_is_named_and_the_others_are_listed(store: ReleaseStore, tmp_path: Path) -> None:
    release = store.publish([write_connector(tmp_path / "new", "ulip", seed=5)], store.bundled(None))
    (release.directories[1] / "manifest.json").write_text("{")
    assert [each.version for each in store.all()] == [store.bundled(None).version]
    with pytest.raises(IntegrityError, match=release.version):
        store.find(release.version)
    assert store.active() == Active()
    (tmp_path / "data/connectors/active.json").write_text("[]")
    with pytest.raises(IntegrityError, match=r"active\.json"):
        store.active()


RECIPE = """
method = "exmcr"
base = "clip"
leaf = "clap"
overlap = "text"
[features]
"clip/text" = "clip-text"
"clap/text" = "clap-text"
"clip/image" = "clip-image"
"clap/audio" = "clap-audio"
[projector]
hidden = 16
[optim]
epochs = 1
batch_size = 64
"""


def test_what_isthmus_train_made_is_published_at_once(bundle: Path, tmp_path: Path) -> None:
    encoders, random = fingerprints_of(load_bundle(bundle)), torch.Generator().manual_seed(0)
    for space, modality in (("clip", "text"), ("clap", "text"), ("clip", "image"), ("clap", "audio")):
        write_feature_set(
            tmp_path / f"{space}-{modality}",
            space=space,
            modality=modality,
            encoder=EncoderReference(name=f"tiny/{space}", fingerprint=encoders[space]),
            vectors=F.normalize(torch.randn(200, DIMS[space], generator=random), dim=1),
            items=[{"id": f"{modality}-{row}", "text": f"item {row}"} for row in range(200)],
        )
    (tmp_path / "recipe.toml").write_text(RECIPE)
    target = target_of(str(tmp_path / "data"))
    before = target.listing().active
    arguments = ["train", str(tmp_path / "recipe.toml"), "--output", str(tmp_path / "made")]
    ended = CliRunner().invoke(app, [*arguments, "--publish", str(tmp_path / "data")], obj=publish_trained)
    assert ended.exit_code == 0, ended.output
    [published] = [each for each in target.listing().available if each.origin == "published"]
    assert published.version in ended.output
    assert target.listing().active == before, "published, and not active before it is asked for"
    target.activate(published.version, shown)
    assert target.listing().active == published.version

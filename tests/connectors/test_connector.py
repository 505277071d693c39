"""A connector survives the disk unchanged and refuses whatever is not what its manifest says."""

import json
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from connectors.connector import Connector, ConnectorManifest, blend, load_connector
from connectors.errors import (
    CheckpointError,
    ConfigError,
    FingerprintMismatch,
    IntegrityError,
    MissingFiles,
    UnsupportedMedia,
)
from connectors.projectors import Linear, MlpStack


def make_connector(seed: int = 0) -> Connector:
    torch.manual_seed(seed)
    projectors = {"f_l": Linear(8, 8), "f_m": MlpStack(8, 16, 8)}
    manifest = ConnectorManifest(
        method="exmcr",
        base="clip",
        dim=8,
        heads={"clip/text": [], "clip/image": [], "clap/text": ["f_m"], "clap/audio": ["f_l", "f_m"]},
        projectors={name: projector.spec for name, projector in projectors.items()},
        encoders={"clip": "sha256:aa", "clap": "sha256:bb"},
    )
    return Connector(manifest, projectors)


@pytest.fixture
def native() -> torch.Tensor:
    return F.normalize(torch.randn(5, 8, generator=torch.Generator().manual_seed(1)), dim=-1)


def test_a_saved_connector_projects_the_same_after_loading(tmp_path: Path, native: torch.Tensor) -> None:
    connector = make_connector()
    loaded = load_connector(connector.save(tmp_path / "c"))
    for modality in ("text", "audio"):
        torch.testing.assert_close(
            loaded.project("clap", modality, native), connector.project("clap", modality, native)
        )
    assert loaded.version == connector.version


def test_a_leaf_head_is_its_chain_then_unit_length(native: torch.Tensor) -> None:
    connector = make_connector()
    chain = connector.projectors["f_m"](connector.projectors["f_l"](native))
    torch.testing.assert_close(connector.project("clap", "audio", native), F.normalize(chain, dim=-1))


def test_the_base_space_is_left_untouched(native: torch.Tensor) -> None:
    assert torch.equal(make_connector().project("clip", "image", native), native)


def test_a_vector_is_projected_the_same_alone_or_in_a_batch(native: torch.Tensor) -> None:
    connector = make_connector()
    together = connector.project("clap", "audio", native)
    alone = torch.cat([connector.project("clap", "audio", row[None]) for row in native])
    torch.testing.assert_close(together, alone)


def test_a_head_it_lacks_is_refused_by_name(native: torch.Tensor) -> None:
    with pytest.raises(UnsupportedMedia, match="ulip/point_cloud"):
        make_connector().project("ulip", "point_cloud", native)


def test_other_encoders_than_those_trained_on_are_refused() -> None:
    connector = make_connector()
    connector.check_encoders({"clip": "sha256:aa", "ulip": "sha256:cc"})
    with pytest.raises(FingerprintMismatch, match="clap"):
        connector.check_encoders({"clip": "sha256:aa", "clap": "sha256:other"})


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    directory = make_connector().save(tmp_path / "c")
    weights = directory / "connector.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    with pytest.raises(IntegrityError, match="sha256"):
        load_connector(directory)


def edit_manifest(directory: Path, **changes: object) -> None:
    path = directory / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_manifest_of_other_projectors_is_refused(tmp_path: Path) -> None:
    connector = make_connector()
    directory = connector.save(tmp_path / "c")
    wider = {**connector.manifest.projectors, "f_l": {"kind": "linear", "dim_in": 8, "dim_out": 9}}
    edit_manifest(directory, projectors=wider)
    with pytest.raises(CheckpointError):
        load_connector(directory)


def test_a_manifest_with_an_unknown_key_is_refused(tmp_path: Path) -> None:
    directory = make_connector().save(tmp_path / "c")
    edit_manifest(directory, colour="blue")
    with pytest.raises(ConfigError, match="colour"):
        load_connector(directory)


def test_a_directory_that_is_no_connector_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingFiles, match=r"connector\.safetensors"):
        load_connector(tmp_path)


def test_a_head_must_name_projectors_that_are_there() -> None:
    connector = make_connector()
    connector.manifest.heads["clap/audio"] = ["f_x"]
    with pytest.raises(CheckpointError, match="f_x"):
        Connector(connector.manifest, {"f_m": MlpStack(8, 16, 8)})


def test_saving_again_replaces_the_connector_whole(tmp_path: Path) -> None:
    make_connector(seed=0).save(tmp_path / "c")
    second = make_connector(seed=1)
    second.save(tmp_path / "c")
    assert load_connector(tmp_path / "c").version == second.version
    assert [p.name for p in tmp_path.iterdir()] == ["c"]


def test_a_blend_goes_from_the_base_to_the_leaf_on_the_sphere():
    base, leaf = F.normalize(torch.randn(5, 8), dim=1), F.normalize(torch.randn(5, 8), dim=1)
    half = blend(base, leaf, 0.5)

    torch.testing.assert_close(blend(base, leaf, 0.0), base)
    torch.testing.assert_close(blend(base, leaf, 1.0), leaf)
    torch.testing.assert_close((half * base).sum(1), (half * leaf).sum(1))
    torch.testing.assert_close(half.norm(dim=1), torch.ones(5))

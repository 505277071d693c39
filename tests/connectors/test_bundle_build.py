"""Bundles of full-size encoders are built from published weights, checked whole, and say what is missing."""

import json
import tomllib
from pathlib import Path

import pytest
import torch
from torch import nn

from connectors import load_bundle
from connectors.bundle import BundleManifest, read_manifest
from connectors.bundle_build import EncoderSource, build_bundle, list_bundles, to_toml, verify_bundle
from connectors.connector import Connector, ConnectorManifest
from connectors.encoders.pointbert import CONFIGS, PointTransformer
from connectors.errors import (
    CheckpointError,
    ConfigError,
    FingerprintMismatch,
    IntegrityError,
    MissingFiles,
)
from connectors.projectors import Linear
from connectors.torchvision_operators import declare_missing_operators

MODEL = "bundle-model-quickgelu"


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> dict[str, Path]:
    """Random weights in the published layouts: a small CLIP, and ULIP-2's PointBERT."""
    declare_missing_operators()
    import open_clip

    folder = tmp_path_factory.mktemp("weights")
    text = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 1}
    vision = {"image_size": 64, "layers": 1, "width": 64, "head_width": 32, "patch_size": 16}
    config = {"embed_dim": 512, "quick_gelu": True, "vision_cfg": vision, "text_cfg": text}
    (folder / f"{MODEL}.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder)
    torch.manual_seed(0)
    torch.save(open_clip.CLIP(**config).state_dict(), folder / "clip.pt")
    points = PointTransformer(CONFIGS["pointbert"]).state_dict()
    tensors = {f"module.point_encoder.{key}": value for key, value in points.items()}
    tensors["module.pc_projection"] = torch.randn(768, 512)
    torch.save({"state_dict": tensors}, folder / "ulip.pt")
    return {"clip": folder / "clip.pt", "ulip": folder / "ulip.pt"}


@pytest.fixture
def sources(weights) -> dict[str, EncoderSource]:
    return {
        "clip": EncoderSource(f"open_clip/{MODEL}", str(weights["clip"])),
        "ulip": EncoderSource("ulip/pointbert", str(weights["ulip"])),
    }


def connector(path: Path, **encoders: str) -> Path:
    """A leaf head from ULIP into CLIP."""
    head = Linear(512, 512)
    nn.init.normal_(head.weight)
    manifest = ConnectorManifest(
        method="exmcr",
        base="clip",
        dim=512,
        heads={"clip/text": [], "clip/image": [], "ulip/point_cloud": ["head"]},
        projectors={"head": head.spec},
        encoders=encoders,
    )
    return Connector(manifest, {"head": head}).save(path)


def test_a_built_bundle_loads_and_is_verified(sources, tmp_path):
    head = connector(tmp_path / "ex_ulip")
    build_bundle("mine", sources, [head], tmp_path / "mine", dtype="float32")
    space = load_bundle(tmp_path / "mine")
    assert space.modalities == ("text", "image", "point_cloud")
    assert space.dim == 512
    vectors = space.embed("text", ["a chair"])
    assert torch.allclose(vectors.norm(dim=1), torch.ones(1), atol=1e-5)
    manifest = read_manifest(tmp_path / "mine")
    assert len(manifest.encoders["clip"].sha256) == 64
    assert [part for part, _ in verify_bundle(tmp_path / "mine")] == [
        "encoder clip",
        "encoder ulip",
        "connectors exmcr",
    ]


def test_changed_weights_are_found(sources, weights, tmp_path):
    own = tmp_path / "clip.pt"
    own.write_bytes(weights["clip"].read_bytes())
    sources["clip"] = EncoderSource(sources["clip"].name, str(own))
    build_bundle("mine", sources, [connector(tmp_path / "ex_ulip")], tmp_path / "mine")
    other = torch.load(own, weights_only=True)
    other["logit_scale"] += 1
    torch.save(other, own)
    with pytest.raises(IntegrityError, match=r"clip\.pt is not the file"):
        verify_bundle(tmp_path / "mine")
    own.unlink()
    with pytest.raises(MissingFiles, match=str(own)):
        verify_bundle(tmp_path / "mine")


def test_a_connector_of_other_encoders_is_refused_and_nothing_is_written(sources, tmp_path):
    head = connector(tmp_path / "ex_ulip", ulip="sha256:" + "0" * 64)
    with pytest.raises(FingerprintMismatch, match="ulip"):
        build_bundle("mine", sources, [head], tmp_path / "mine")
    assert not (tmp_path / "mine").exists()


def test_exchanged_checkpoints_are_refused(sources, weights, tmp_path):
    sources["ulip"] = EncoderSource("ulip/pointbert", str(weights["clip"]))
    with pytest.raises(CheckpointError, match="not ULIP's"):
        build_bundle("mine", sources, [connector(tmp_path / "ex_ulip")], tmp_path / "mine")


def test_everything_that_is_missing_is_listed_at_once(tmp_path):
    sources = {
        "clip": EncoderSource("open_clip/ViT-B-32-quickgelu", str(tmp_path / "clip.safetensors")),
        "clap": EncoderSource("laion_clap/HTSAT-tiny", None),
        "ulip": EncoderSource("ulip/pointbert", str(tmp_path / "pointbert_ULIP-2.pt")),
    }
    with pytest.raises(MissingFiles) as error:
        build_bundle("full", sources, [], tmp_path / "full")
    message = error.value.message
    assert "5 files are missing" in message
    for wanted in (
        "huggingface.co/timm/vit_base_patch32_clip_224.openai",
        f"put it at {tmp_path / 'clip.safetensors'}",
        "lukewys/laion_clap/resolve/main/630k-fusion-best.pt",
        "pass --clap PATH",
        "pointbert_ULIP-2.pt",
        "ex_clap.pt",
        "ex_ulip.pt",
        "pass --connector DIR",
    ):
        assert wanted in message


def test_a_bundle_without_its_base_is_refused(sources, tmp_path):
    del sources["clip"]
    with pytest.raises(ConfigError, match="clip"):
        build_bundle("mine", sources, [], tmp_path / "mine")


def test_a_manifest_survives_being_written():
    manifest = BundleManifest.model_validate(
        {
            "format": "isthmus.bundle/1",
            "name": 'of "quotes", back\\slashes and ü',
            "default": "exmcr",
            "serve": {"text": "clip"},
            "encoders": {"clip": {"name": "open_clip/x", "options": {"roberta": "a/b", "n": 3, "ok": True}}},
            "connectors": {"exmcr": ["connectors/a", "connectors/b"]},
        }
    )
    assert BundleManifest.model_validate(tomllib.loads(to_toml(manifest))) == manifest


def test_bundles_of_the_users_folder_are_listed(tmp_path, monkeypatch):
    monkeypatch.setenv("ISTHMUS_BUNDLES", str(tmp_path))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "bundle.toml").write_text("format = 3")
    found = {path.name: manifest for path, manifest in list_bundles()}
    assert isinstance(found["broken"], ConfigError)

"""The encoders of the production bundle `full` with random weights, which cost what the published ones do.

Given a directory, writes ViT-B/32, HTSAT-tiny and PointBERT in the published layouts, and a bundle of them
whose connector has a head of the papers' size for sounds and for clouds. Nothing comes from a hub.
"""

from pathlib import Path

import torch

from benchmarks.peers.vit_b_32 import DIM, MODEL
from connectors.bundle_build import EncoderSource, build_bundle
from connectors.connector import Connector, ConnectorManifest
from connectors.encoders.htsat import CONFIGS as HTSAT
from connectors.encoders.htsat import Htsat
from connectors.encoders.pointbert import CONFIGS as POINTBERT
from connectors.encoders.pointbert import PointTransformer
from connectors.projectors import MlpStack
from connectors.torchvision_operators import declare_missing_operators

POINT_WIDTH = 768
"""Width of the input of PointBERT's projection: its class token beside the largest of the others."""
HEADS = {"clap/audio": "sounds", "ulip/point_cloud": "shapes"}


def write(directory: Path) -> Path:
    """The bundle, below a directory."""
    declare_missing_operators()
    import open_clip

    torch.manual_seed(0)
    directory.mkdir(parents=True, exist_ok=True)
    pictures = open_clip.CLIP(**open_clip.get_model_config(MODEL)).state_dict()
    sounds = Htsat(HTSAT["HTSAT-tiny"], fusion=False).state_dict()
    projection = torch.nn.Sequential(
        torch.nn.Linear(HTSAT["HTSAT-tiny"].out, DIM), torch.nn.ReLU(), torch.nn.Linear(DIM, DIM)
    ).state_dict()
    shapes = PointTransformer(POINTBERT["pointbert"]).state_dict()
    clap = _below("module.audio_branch", sounds) | _below("module.audio_projection", projection)
    ulip = _below("module.point_encoder", shapes)
    ulip["module.pc_projection"] = torch.randn(POINT_WIDTH, DIM) / POINT_WIDTH**0.5
    torch.save(pictures, directory / "clip.pt")
    torch.save({"state_dict": clap}, directory / "clap.pt")
    torch.save({"state_dict": ulip}, directory / "ulip.pt")
    sources = {
        "clip": EncoderSource(f"open_clip/{MODEL}", str(directory / "clip.pt")),
        "clap": EncoderSource("laion_clap/HTSAT-tiny", str(directory / "clap.pt")),
        "ulip": EncoderSource("ulip/pointbert", str(directory / "ulip.pt")),
    }
    build_bundle("full", sources, [_connector(directory / "head")], directory / "bundle", dtype="auto")
    return directory / "bundle"


def _connector(path: Path) -> Path:
    """Sounds and clouds into CLIP's space, by Ex-MCR's f_m: two blocks of 1,024."""
    heads = {name: MlpStack(DIM, 2 * DIM, DIM) for name in HEADS.values()}
    manifest = ConnectorManifest(
        method="exmcr",
        base="clip",
        dim=DIM,
        heads={"clip/text": [], "clip/image": [], **{key: [name] for key, name in HEADS.items()}},
        projectors={name: head.spec for name, head in heads.items()},
        encoders={},
    )
    return Connector(manifest, dict(heads)).save(path)


def _below(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {f"{prefix}.{key}": value for key, value in tensors.items()}

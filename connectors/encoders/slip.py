"""SLIP's image and text towers, which ULIP's point clouds were aligned to.

Training a connector for ULIP needs the images its point clouds overlap with; serving point clouds
does not. The towers are open_clip's own parts in SLIP's shape: given SLIP's tensors, as ULIP's
checkpoints carry them or as SLIP's own release does, gives back an encoder of images and texts.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from connectors.checkpoint import fit, read_tensors
from connectors.encoders.clip_tokens import ClipTokens
from connectors.encoders.open_clip import OpenClipEncoder
from connectors.errors import CheckpointError
from connectors.modality import Modality
from connectors.torchvision_operators import declare_missing_operators
from connectors.weights import Download, locate

_ARCHITECTURE: dict[str, Any] = {
    "embed_dim": 512,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 224, "timm_model_name": "vit_base_patch16_224", "timm_pool": "token"},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 12},
}
_IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225), "interpolation": "bilinear"}
_TEXT_KEYS = ("token_embedding.", "positional_embedding", "transformer.", "ln_final.", "text_projection")
_RELEASE = Download(
    "SLIP's ViT-B release slip_base_100ep.pt",
    "https://dl.fbaipublicfiles.com/slip/slip_base_100ep.pt",
)


def load_slip(
    tensors: Mapping[str, Tensor],
    path: Path,
    release: str | Path | None,
    towers: tuple[Modality, ...],
) -> OpenClipEncoder:
    """SLIP's towers from `tensors` of the checkpoint at `path`, or from its own `release` file.

    Raises `CheckpointError` where neither has them, `MissingFiles` if `release` is not there.
    """
    declare_missing_operators()
    import open_clip
    from open_clip.transform import PreprocessCfg, image_transform_v2

    if release is not None:
        path = locate(release, _RELEASE)
        tensors = read_tensors(path)
    if "image_projection" not in tensors or "text_projection" not in tensors:
        raise CheckpointError(
            f"{path} carries no image and text towers; pass slip=PATH to {_RELEASE.what}, from {_RELEASE.url}"
        )
    network = open_clip.CLIP(**_ARCHITECTURE)
    fit(network, _renamed(tensors), path=path, what="SLIP ViT-B/16")
    return OpenClipEncoder(
        name="ulip/slip",
        modalities=towers,
        network=network.eval(),
        dim=int(_ARCHITECTURE["embed_dim"]),
        transform=image_transform_v2(PreprocessCfg(size=224, **_IMAGENET), is_train=False),
        tokens=ClipTokens(open_clip.SimpleTokenizer(context_length=77)),
        fingerprint="",
    )


def _renamed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """SLIP's and ULIP's keys as open_clip names them; other parts of the checkpoint are left out."""
    renamed = {key: value for key, value in tensors.items() if key.startswith(_TEXT_KEYS)}
    for key, value in tensors.items():
        if key.startswith("visual."):
            renamed[f"visual.trunk.{key.removeprefix('visual.')}"] = value
    renamed["visual.head.proj.weight"] = tensors["image_projection"].T
    renamed["logit_scale"] = tensors["logit_scale"]
    return renamed

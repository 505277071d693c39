"""Full-size encoders with random weights, made in memory; in the small run cut to a few blocks.

Each is made on the CPU in float32 from one seed; `copy_in` gives a copy of it elsewhere, in another format.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from benchmarks.http_load.media import content
from connectors.encoder import Prepared, TowerEncoder
from connectors.encoders.clip_tokens import ClipTokens
from connectors.encoders.htsat import CONFIGS as HTSAT
from connectors.encoders.htsat import Htsat, HtsatConfig
from connectors.encoders.laion_clap import DIM as CLAP_DIM
from connectors.encoders.laion_clap import LaionClapEncoder
from connectors.encoders.open_clip import OpenClipEncoder
from connectors.encoders.pointbert import CONFIGS as POINTBERT
from connectors.encoders.pointbert import PointBertEncoder, PointTransformer
from connectors.media import decode
from connectors.modality import Modality
from connectors.precision import place
from connectors.torchvision_operators import declare_missing_operators

Make = Callable[[int | None], TowerEncoder]

FORMATS: Mapping[str, tuple[torch.dtype, bool]] = {
    "float32": (torch.float32, False),
    "tf32": (torch.float32, True),
    "bfloat16": (torch.bfloat16, False),
    "float16": (torch.float16, False),
}
"""A number format: the weights' numbers, and whether float32 products may be TF32."""
ON_CPU = ("float32", "bfloat16")


def clip(model: str) -> Make:
    """One of open_clip's models, both towers."""

    def make(blocks: int | None) -> TowerEncoder:
        declare_missing_operators()
        import open_clip
        from open_clip.transform import PreprocessCfg, image_transform_v2

        config: dict[str, Any] = copy.deepcopy(open_clip.get_model_config(model))
        if blocks:
            config["vision_cfg"]["layers"] = config["text_cfg"]["layers"] = blocks
        network = open_clip.CLIP(**config).eval()
        pixels = PreprocessCfg(size=network.visual.image_size)
        return OpenClipEncoder(
            name=f"open_clip/{model}",
            modalities=("text", "image"),
            network=network,
            dim=int(config["embed_dim"]),
            transform=image_transform_v2(pixels, is_train=False),
            tokens=ClipTokens(open_clip.SimpleTokenizer(context_length=77)),
            fingerprint="",
        )

    return make


def clap(blocks: int | None) -> TowerEncoder:
    """HTSAT-tiny without fusion."""
    config = HTSAT["HTSAT-tiny"]
    if blocks:
        config = HtsatConfig(width=config.width, depths=(2, *(blocks,) * 3))
    projection = nn.Sequential(nn.Linear(config.out, CLAP_DIM), nn.ReLU(), nn.Linear(CLAP_DIM, CLAP_DIM))
    encoder = LaionClapEncoder("laion_clap/HTSAT-tiny", Htsat(config, fusion=False), projection, "")
    return encoder.eval()


def ulip(blocks: int | None) -> TowerEncoder:
    """PointBERT for 8,192 points."""
    config = POINTBERT["pointbert"]
    if blocks:
        config = replace(config, depth=blocks, groups=64)
    projection = torch.randn(2 * config.width, config.dim) / (2 * config.width) ** 0.5
    encoder = PointBertEncoder("ulip/pointbert", PointTransformer(config), projection, "")
    return encoder.eval()


ENCODERS: Mapping[str, Make] = {
    "ViT-B/32": clip("ViT-B-32-quickgelu"),
    "HTSAT-tiny": clap,
    "PointBERT": ulip,
    "ViT-L/14": clip("ViT-L-14-quickgelu"),
}


def made(name: str, blocks: int | None) -> TowerEncoder:
    """An encoder of `ENCODERS` on the CPU in float32, always with the same weights."""
    torch.manual_seed(0)
    encoder = ENCODERS[name](blocks)
    return encoder.requires_grad_(False)


def copy_in(encoder: TowerEncoder, device: str, dtype: torch.dtype) -> TowerEncoder:
    """A copy on a device: placed as the service places it, or converted to float64, which it never is."""
    copied = copy.deepcopy(encoder)
    if dtype == torch.float64:
        return copied.to(device, dtype)
    place(copied, device=device, dtype=str(dtype).removeprefix("torch."))
    return copied


def prepared(encoder: TowerEncoder, modality: Modality, count: int) -> list[Prepared]:
    """Different items of a modality, decoded from the files that the service's load has too."""
    items = []
    for seed in range(count):
        media = decode(modality, content(modality, seed))
        items.append(encoder.prepare(media, modality))
    return items

"""HTS-AT, the audio network of LAION CLAP, in plain torch.

Given log-mel spectrograms, gives back one vector each. Modules and keys are those of `audio_branch`
in LAION's checkpoints (arXiv 2202.00874; laion_clap 1.1.7, `clap_module/htsat.py`), without the
classification head, and with the fusion of whole and parts for the fusion checkpoints. Attention is
one fused call a block and its maps are not kept, which is where the time goes in laion_clap.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from connectors.encoders.feed_forward import FeedForward

IMAGE = 256
"""Side of the square picture a spectrogram is folded into: 4 x 64 bands by 256 frames."""
_FOLDS = 4
_PATCH = 4
_WINDOW = 8


@dataclass(frozen=True, slots=True)
class HtsatConfig:
    """One published size."""

    width: int
    depths: tuple[int, ...]
    heads: tuple[int, ...] = (4, 8, 16, 32)

    @property
    def out(self) -> int:
        """Length of the vectors before CLAP's projection."""
        return self.width << (len(self.depths) - 1)


CONFIGS = {
    "HTSAT-tiny": HtsatConfig(width=96, depths=(2, 2, 6, 2)),
    "HTSAT-base": HtsatConfig(width=128, depths=(2, 2, 12, 2)),
}


class _Attention(nn.Module):
    """Attention inside windows of 8 x 8 patches, with a learned bias for every offset."""

    relative_position_index: Tensor

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        offsets = (2 * _WINDOW - 1) ** 2
        self.relative_position_bias_table = nn.Parameter(torch.zeros(offsets, heads))
        index = torch.zeros(_WINDOW**2, _WINDOW**2, dtype=torch.long)
        self.register_buffer("relative_position_index", index)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, windows: Tensor, mask: Tensor | None) -> Tensor:
        """Windows [b * w, 64, width], mask [w, 64, 64] between regions that do not touch."""
        n, tokens, width = windows.shape
        q, k, v = self.qkv(windows).view(n, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        bias = self.relative_position_bias_table[self.relative_position_index].permute(2, 0, 1)[None]
        if mask is not None:
            bias = (bias + mask[:, None]).repeat(n // len(mask), 1, 1, 1)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        out: Tensor = self.proj(mixed.transpose(1, 2).reshape(n, tokens, width))
        return out


class _Block(nn.Module):
    """A Swin block: windows, in every second block shifted by half a window."""

    attn_mask: Tensor | None

    def __init__(self, width: int, heads: int, side: int, shifted: bool) -> None:
        super().__init__()
        self.side = side
        self.shift = _WINDOW // 2 if shifted and side > _WINDOW else 0
        self.norm1 = nn.LayerNorm(width)
        self.attn = _Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = FeedForward(width)
        windows = (side // _WINDOW) ** 2
        mask = torch.zeros(windows, _WINDOW**2, _WINDOW**2) if self.shift else None
        self.register_buffer("attn_mask", mask)

    def forward(self, x: Tensor) -> Tensor:
        b, tokens, width = x.shape
        count = self.side // _WINDOW
        image = self.norm1(x).view(b, self.side, self.side, width)
        if self.shift:
            image = image.roll((-self.shift, -self.shift), dims=(1, 2))
        tiles = image.view(b, count, _WINDOW, count, _WINDOW, width).transpose(2, 3)
        tiles = self.attn(tiles.reshape(-1, _WINDOW**2, width), self.attn_mask)
        tiles = tiles.view(b, count, count, _WINDOW, _WINDOW, width).transpose(2, 3)
        image = tiles.reshape(b, self.side, self.side, width)
        if self.shift:
            image = image.roll((self.shift, self.shift), dims=(1, 2))
        x = x + image.view(b, tokens, width)
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class _Merge(nn.Module):
    """Every 2 x 2 patches become one of twice the width."""

    def __init__(self, width: int, side: int) -> None:
        super().__init__()
        self.side = side
        self.norm = nn.LayerNorm(4 * width)
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        b, _, width = x.shape
        half = self.side // 2
        squares = x.view(b, half, 2, half, 2, width).permute(0, 1, 3, 4, 2, 5)
        out: Tensor = self.reduction(self.norm(squares.reshape(b, half * half, 4 * width)))
        return out


class _Stage(nn.Module):
    def __init__(self, width: int, depth: int, heads: int, side: int, merge: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(_Block(width, heads, side, i % 2 == 1) for i in range(depth))
        self.downsample = _Merge(width, side) if merge else None

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return x if self.downsample is None else self.downsample(x)


class _Fusion(nn.Module):
    """Attentional feature fusion of the whole with its parts (arXiv 2009.14082)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = width // 4

        def squeeze() -> list[nn.Module]:
            return [
                nn.Conv2d(width, inner, 1),
                nn.BatchNorm2d(inner),
                nn.ReLU(),
                nn.Conv2d(inner, width, 1),
                nn.BatchNorm2d(width),
            ]

        self.local_att = nn.Sequential(*squeeze())
        self.global_att = nn.Sequential(nn.AdaptiveAvgPool2d(1), *squeeze())

    def forward(self, whole: Tensor, parts: Tensor) -> Tensor:
        both = whole + parts
        weight = torch.sigmoid(self.local_att(both) + self.global_att(both))
        return 2 * whole * weight + 2 * parts * (1 - weight)


class _PatchEmbed(nn.Module):
    """Patches of 4 x 4; of a fusion checkpoint also patches of 4 x 12 of the three parts."""

    def __init__(self, width: int, fusion: bool) -> None:
        super().__init__()
        self.proj = nn.Conv2d(1, width, _PATCH, _PATCH)
        self.norm = nn.LayerNorm(width)
        if fusion:
            self.mel_conv2d = nn.Conv2d(1, width, (_PATCH, 3 * _PATCH), (_PATCH, 3 * _PATCH))
            self.fusion_model = _Fusion(width)

    def forward(self, images: Tensor, longer: Tensor | None) -> Tensor:
        """Images [b, 1 or 4, 256, 256], longer bool [b] or None -> patches [b, 4096, width]."""
        x = self.proj(images[:, :1])
        if longer is not None and bool(longer.any()):
            parts = images[longer, 1:]
            local = self.mel_conv2d(parts.flatten(0, 1)[:, None]).unflatten(0, parts.shape[:2])
            local = local.permute(0, 2, 3, 1, 4).flatten(3)
            local = F.pad(local, (0, x.shape[-1] - local.shape[-1]))
            x[longer] = self.fusion_model(x[longer], local)
        out: Tensor = self.norm(x.flatten(2).transpose(1, 2))
        return out


class Htsat(nn.Module):
    """The network below `audio_branch` in LAION's checkpoints."""

    def __init__(self, config: HtsatConfig, fusion: bool) -> None:
        super().__init__()
        self.fusion = fusion
        self.bn0 = nn.BatchNorm2d(IMAGE // _FOLDS)
        self.patch_embed = _PatchEmbed(config.width, fusion)
        sides = [IMAGE // _PATCH // 2**i for i in range(len(config.depths))]
        self.layers = nn.ModuleList(
            _Stage(config.width * 2**i, depth, heads, side, merge=side != sides[-1])
            for i, (depth, heads, side) in enumerate(zip(config.depths, config.heads, sides, strict=True))
        )
        self.norm = nn.LayerNorm(config.out)

    def forward(self, mels: Tensor) -> Tensor:
        """Decibels float32 [b, 1, frames, 64], fusion [b, 4, frames, 64] -> [b, out].

        Of a fusion input the first channel is the whole and the others its front, middle and back;
        clips that fit the window have zeros there.
        """
        longer = mels[:, 1:].flatten(1).any(dim=1) if self.fusion else None
        images = self._fold(mels).to(self.norm.weight.dtype)
        x = self.patch_embed(images, longer)
        for layer in self.layers:
            x = layer(x)
        out: Tensor = self.norm(x).mean(dim=1)
        return out

    def _fold(self, mels: Tensor) -> Tensor:
        """Normalise bands, stretch time to 1,024 frames, and stack its quarters: [b, c, 256, 256]."""
        bn = self.bn0
        scale = bn.weight.float() * torch.rsqrt(bn.running_var.float() + bn.eps)  # type: ignore[union-attr]
        x = (mels - bn.running_mean.float()) * scale + bn.bias.float()  # type: ignore[union-attr]
        frames = IMAGE * _FOLDS
        x = F.interpolate(x, (frames, x.shape[3]), mode="bicubic", align_corners=True)
        b, c, _, bands = x.shape
        return x.view(b, c, _FOLDS, IMAGE, bands).transpose(3, 4).reshape(b, c, IMAGE, IMAGE)

"""ULIP-2's PointBERT: point clouds to vectors, in plain torch.

Given one of the published ULIP-2 checkpoints, gives back an encoder of point clouds, with the keys
and the arithmetic of `models/pointbert` in salesforce/ULIP (arXiv 2305.08275) and without its
compiled extensions. The image and text towers of the same checkpoint (SLIP) are loaded when asked.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from connectors.checkpoint import fingerprint, fit, part, read_tensors
from connectors.encoder import Prepared, TowerEncoder, choose_towers
from connectors.encoders.feed_forward import FeedForward
from connectors.encoders.point_groups import group_points
from connectors.encoders.slip import load_slip
from connectors.errors import CheckpointError, ConfigError, InvalidMedia, MissingFiles
from connectors.modality import Media, Modality, Points
from connectors.weights import Download, locate

_DROPPED_COLOUR = 0.4
"""Grey given to points without colour, as OpenShape's data does for the coloured model."""


@dataclass(frozen=True, slots=True)
class PointBertConfig:
    """One published architecture, and where its checkpoint is published."""

    points: int
    channels: int
    depth: int
    dim: int
    file: str
    url: str
    width: int = 384
    heads: int = 6
    groups: int = 512
    group_size: int = 32
    token_dim: int = 256


CONFIGS = {
    "pointbert": PointBertConfig(
        points=8192,
        channels=3,
        depth=12,
        dim=512,
        file="pointbert_ULIP-2.pt",
        url="https://storage.cloud.google.com/sfr-ulip-code-release-research/pretrained_models/"
        "ckpt_zero-sho_classification/pointbert_ULIP-2.pt",
    ),
    "pointbert-colored": PointBertConfig(
        points=10_000,
        channels=6,
        depth=18,
        dim=1280,
        file="ULIP-2-PointBERT-10k-colored-pc-pretrained.pt",
        url="https://storage.cloud.google.com/sfr-ulip-code-release-research/ULIP-2/models/"
        "ULIP-2-PointBERT-10k-colored-pc-pretrained.pt",
    ),
}
"""`ulip/pointbert` and `ulip/pointbert-colored`."""


class _GroupEncoder(nn.Module):
    """A small PointNet: each group of points becomes one token.

    The convolutions have kernel 1 and are run as matrix products over the last axis, with their
    batch normalisation folded in. Of the second stage's input one half is the group's maximum,
    the same for all its points: its product is computed once a group. A few groups at a time keep
    what lies between in the processor's cache.
    """

    GROUPS_AT_ONCE = 64

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.first_conv = nn.Sequential(
            nn.Conv1d(channels, 128, 1), nn.BatchNorm1d(128), nn.ReLU(), nn.Conv1d(128, 256, 1)
        )
        self.second_conv = nn.Sequential(
            nn.Conv1d(512, 512, 1), nn.BatchNorm1d(512), nn.ReLU(), nn.Conv1d(512, out, 1)
        )

    def forward(self, groups: Tensor) -> Tensor:
        """Groups [b, g, size, channels] -> tokens [b, g, out]."""
        first, second = _folded(self.first_conv), _folded(self.second_conv)
        at_once = self.GROUPS_AT_ONCE if groups.device.type == "cpu" else groups.shape[0] * groups.shape[1]
        parts = [self._tokens(part, first, second) for part in torch.split(groups.flatten(0, 1), at_once)]
        return torch.cat(parts).view(*groups.shape[:2], -1)

    def _tokens(self, groups: Tensor, first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> Tensor:
        x = _pointwise(self.first_conv[3], F.relu(F.linear(groups, *first)))
        weight, bias = second
        half = x.shape[-1]
        shared = F.linear(x.amax(dim=1, keepdim=True), weight[:, :half], bias)
        x = _pointwise(self.second_conv[3], F.relu(F.linear(x, weight[:, half:]).add_(shared)))
        return x.amax(dim=1)


def _folded(stage: nn.Sequential) -> tuple[Tensor, Tensor]:
    """Weight [out, in] and bias [out] of a stage's convolution with its normalisation."""
    conv, norm = stage[0], stage[1]
    assert isinstance(conv, nn.Conv1d) and isinstance(norm, nn.BatchNorm1d)
    assert conv.bias is not None and norm.running_mean is not None and norm.running_var is not None
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    return conv.weight[..., 0] * scale[:, None], (conv.bias - norm.running_mean) * scale + norm.bias


def _pointwise(conv: nn.Module, x: Tensor) -> Tensor:
    assert isinstance(conv, nn.Conv1d)
    return F.linear(x, conv.weight[..., 0], conv.bias)


class _Attention(nn.Module):
    """Self-attention with one projection, without bias, for queries, keys and values."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        b, n, width = x.shape
        q, k, v = self.qkv(x).view(b, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v)
        out: Tensor = self.proj(mixed.transpose(1, 2).reshape(b, n, width))
        return out


class _Block(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = _Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = FeedForward(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class _Blocks(nn.Module):
    """The transformer: positions are added again before every block."""

    def __init__(self, config: PointBertConfig) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(_Block(config.width, config.heads) for _ in range(config.depth))

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x + positions)
        return x


class PointTransformer(nn.Module):
    """The network below `point_encoder` in ULIP's checkpoints."""

    def __init__(self, config: PointBertConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = _GroupEncoder(config.channels, config.token_dim)
        self.reduce_dim = nn.Linear(config.token_dim, config.width)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.width))
        self.cls_pos = nn.Parameter(torch.zeros(1, 1, config.width))
        self.pos_embed = nn.Sequential(nn.Linear(3, 128), nn.GELU(), nn.Linear(128, config.width))
        self.blocks = _Blocks(config)
        self.norm = nn.LayerNorm(config.width)

    def forward(self, points: Tensor) -> Tensor:
        """Points [b, n, channels], centred and scaled -> [b, 2 * width]: class token and maximum.

        Groups are formed in float32 whatever the format of the weights.
        """
        groups, centres = group_points(points, self.config.groups, self.config.group_size)
        dtype = self.cls_token.dtype
        tokens = self.reduce_dim(self.encoder(groups.to(dtype)))
        positions = self.pos_embed(centres.to(dtype))
        x = torch.cat([self.cls_token.expand(len(points), -1, -1), tokens], dim=1)
        at = torch.cat([self.cls_pos.expand(len(points), -1, -1), positions], dim=1)
        x = self.norm(self.blocks(x, at))
        return torch.cat([x[:, 0], x[:, 1:].amax(dim=1)], dim=-1)


class PointBertEncoder(TowerEncoder):
    """ULIP-2's point tower, and SLIP's towers beside it where they were asked for."""

    reducible = True

    def __init__(
        self,
        name: str,
        network: PointTransformer,
        projection: Tensor,
        fingerprint: str,
        slip: TowerEncoder | None = None,
    ) -> None:
        super().__init__()
        self.name = name
        self.network = network
        self.projection = nn.Parameter(projection)
        self.slip = slip
        self.modalities = ("point_cloud", *(slip.modalities if slip else ()))
        self.dim = projection.shape[1]
        self.fingerprint = fingerprint

    def packable(self) -> Iterable[nn.Module]:
        """See `TowerEncoder.packable`."""
        return (self.network, *(self.slip.packable() if self.slip else ()))

    def prepare(self, media: Media, modality: Modality | None = None) -> Prepared:
        """A cloud of any size >= 32 as float32 [1, points, channels], centred, of radius 1."""
        tower = self.resolve(modality)
        if tower != "point_cloud":
            assert self.slip is not None
            return self.slip.prepare(media, tower)
        if not isinstance(media, np.ndarray):
            raise InvalidMedia(f"{self.name} takes points, not {type(media).__name__}")
        config = self.network.config
        cloud = sample_cloud(media, config.points, config.group_size)
        rows = np.full((1, config.points, config.channels), _DROPPED_COLOUR, dtype=np.float32)
        shared = min(cloud.shape[1], config.channels)
        rows[0, :, :shared] = cloud[:, :shared]
        return Prepared("point_cloud", torch.from_numpy(rows), config.points)

    def collate(self, modality: Modality, rows: Sequence[Tensor]) -> Tensor:
        """See `TowerEncoder.collate`."""
        if modality == "point_cloud" or self.slip is None:
            return torch.cat(list(rows))
        return self.slip.collate(modality, rows)

    def embed_rows(self, modality: Modality, rows: Tensor) -> Tensor:
        """See `TowerEncoder.embed_rows`."""
        if modality == "point_cloud" or self.slip is None:
            out: Tensor = self.network(rows) @ self.projection
            return out
        return self.slip.embed_rows(modality, rows)


def sample_cloud(points: Points, count: int, least: int) -> Points:
    """A cloud [n, 3 or 6] as `count` points, coordinates centred and scaled: float32 [count, 3 or 6].

    As in ULIP's evaluation: the mean is moved to the origin and the farthest point to distance 1.
    More points than `count` are thinned by one fixed random choice, in order; fewer are repeated in
    turn. A cloud of `count` points that is already centred and scaled is returned as it is.
    Raises `InvalidMedia` below `least` points, for values that are not finite, and for a cloud
    without extent.
    """
    if points.ndim != 2 or points.shape[1] not in (3, 6):
        raise InvalidMedia(f"a point cloud is [n, 3] or [n, 6] with colour, not {points.shape}")
    if len(points) < least:
        raise InvalidMedia(f"a point cloud of {len(points)} points is too small: give {least} or more")
    if not np.isfinite(points).all():
        raise InvalidMedia("a point cloud holds values that are not finite")
    if len(points) > count:
        kept = np.random.default_rng(0).choice(len(points), count, replace=False, shuffle=False)
        points = points[np.sort(kept)]
    xyz = points[:, :3].astype(np.float64)
    centre = xyz.mean(axis=0)
    radius = float(np.sqrt(np.square(xyz - centre).sum(axis=1).max()))
    if radius <= 1e-12 * max(1.0, float(np.abs(centre).max())):
        raise InvalidMedia("a point cloud has no extent: all its points are in one place")
    cloud = points.astype(np.float32, copy=True)
    if np.abs(centre).max() > 1e-6 or abs(radius - 1) > 1e-6:
        cloud[:, :3] = (xyz - centre) / radius
    return cloud if len(cloud) == count else cloud[np.arange(count) % len(cloud)]


def published_weights(model: str) -> Download:
    """Where ULIP-2's checkpoint for `model` is published."""
    config = CONFIGS[model]
    return Download(f"the ULIP-2 checkpoint {config.file}", config.url)


def load(
    model: str,
    weights: str | Path | None,
    *,
    towers: Sequence[Modality] | None = None,
    slip: str | Path | None = None,
    sha256: str | None = None,
) -> PointBertEncoder:
    """Load `pointbert` or `pointbert-colored` from its ULIP-2 checkpoint, on the CPU in float32.

    `towers` adds SLIP's "image" and "text" for training, from the same checkpoint or, where that
    has none, from `slip` (`slip_base_100ep.pt`). By default the point cloud's tower alone is loaded.

    Raises `ConfigError` for an unknown model, `MissingFiles` if the weights are not there, and
    `CheckpointError` or `IntegrityError` if they are not this model's.
    """
    if model not in CONFIGS:
        raise ConfigError(f"there is no ulip/{model}; there are {', '.join(CONFIGS)}")
    config, name = CONFIGS[model], f"ulip/{model}"
    offered: tuple[Modality, ...] = ("point_cloud", "image", "text")
    asked = choose_towers(name, towers or ("point_cloud",), offered)
    download = published_weights(model)
    if weights is None:
        raise MissingFiles(
            f"{name} was given no weights: pass the path of {download.what}, from {download.url}"
        )
    path = locate(weights, download)
    tensors = read_tensors(path, sha256)
    if not part(tensors, "point_encoder.") or "pc_projection" not in tensors:
        raise CheckpointError(f"{path} has no point_encoder.* and pc_projection: it is not ULIP's")

    network = PointTransformer(config)
    what = f"{name} ({config.depth} blocks, {config.channels} channels a point)"
    fit(network, part(tensors, "point_encoder."), path=path, what=what)
    projection = tensors["pc_projection"].float()
    if projection.shape != (2 * config.width, config.dim):
        raise CheckpointError(
            f"{path} does not fit {what}: pc_projection is {list(projection.shape)} instead of "
            f"{[2 * config.width, config.dim]}"
        )
    others = tuple(tower for tower in asked if tower != "point_cloud")
    core = {**network.state_dict(), "pc_projection": projection}
    encoder = PointBertEncoder(
        name=name,
        network=network,
        projection=projection,
        fingerprint=fingerprint(core, name, f"points={config.points}"),
        slip=load_slip(tensors, path, slip, others) if others else None,
    )
    encoder.eval()
    return encoder

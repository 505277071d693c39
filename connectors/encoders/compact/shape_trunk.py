"""The compact point-cloud trunk: groups of near points, then the whole (PointNet++ in miniature).

Given clouds of `POINTS` points, centred, scaled and led by points far from each other, it gives back
features [n, features]. The leading points are chosen by farthest point sampling from point 0, so
nothing is random.

Source: Qi et al. 2017, PointNet++ (arXiv 1706.02413), section 3.
"""

import itertools

import numpy as np
import torch
from torch import Tensor, nn

from connectors.errors import InvalidMedia
from connectors.modality import Points

POINTS = 1024
GROUPS = 96
FEWEST = 32


def prepare_points(points: Points) -> Tensor:
    """A cloud of any size, scale and place -> [1, POINTS, 3], mean 0, farthest point at 1.

    More points than `POINTS` are thinned evenly in their order, fewer are repeated; then `GROUPS`
    points far from each other are brought to the front. Raises `InvalidMedia` if there are fewer
    than 32 points, if any is no number, or if all are in one place.
    """
    if points.ndim != 2 or points.shape[1] != 3 or len(points) < FEWEST:
        raise InvalidMedia(f"a point cloud needs at least {FEWEST} points of x, y, z")
    if not np.isfinite(points).all():
        raise InvalidMedia("the point cloud holds coordinates that are not numbers")
    if len(points) >= POINTS:
        at = (np.arange(POINTS) * len(points)) // POINTS
    else:
        at = np.arange(POINTS) % len(points)
    chosen = points[at].astype(np.float64)
    chosen -= chosen.mean(axis=0)
    radius = float(np.linalg.norm(chosen, axis=1).max())
    if not radius > 1e-9 * float(np.abs(points).max()):
        raise InvalidMedia("all points of the cloud are in one place")
    return torch.from_numpy(spread_first((chosen / radius).astype(np.float32)))[None]


def spread_first(points: Points) -> Points:
    """The same points, led by `GROUPS` that are far from each other (point 0 first)."""
    columns = np.ascontiguousarray(points.T)
    distance = np.full(len(points), np.inf, dtype=np.float32)
    lead = np.zeros(GROUPS, dtype=np.int64)
    for k in range(1, GROUPS):
        offset = columns - columns[:, lead[k - 1], None]
        np.minimum(distance, (offset * offset).sum(axis=0), out=distance)
        lead[k] = distance.argmax()
    rest = np.ones(len(points), dtype=bool)
    rest[lead] = False
    order = np.concatenate([lead, np.flatnonzero(rest)])[: len(points)]
    led: Points = points[np.resize(order, len(points))]
    return led


def gather(values: Tensor, at: Tensor) -> Tensor:
    """Rows values[n, at[n, ...]] of [n, p, c] -> [n, ..., c]."""
    flat = at.flatten(1)[..., None].expand(-1, -1, values.shape[-1])
    return values.gather(1, flat).view(*at.shape, values.shape[-1])


def shared_layers(*dims: int) -> nn.Sequential:
    """Linear, LayerNorm, ReLU for each step, applied to every point alike."""
    layers: list[nn.Module] = []
    for dim_in, dim_out in itertools.pairwise(dims):
        layers += [nn.Linear(dim_in, dim_out), nn.LayerNorm(dim_out), nn.ReLU()]
    return nn.Sequential(*layers)


class ShapeTrunk(nn.Module):
    """Two rounds of grouping, then a maximum and a mean over what is left."""

    def __init__(self, width: int, features: int, near: int = 16) -> None:
        super().__init__()
        self.near = near
        self.local = shared_layers(6, width // 2, width)
        self.regional = shared_layers(width + 3, 2 * width)
        self.whole = shared_layers(2 * width + 3, 2 * width, features // 2)

    def forward(self, points: Tensor) -> Tensor:
        """[n, POINTS, 3], as `prepare_points` orders them -> [n, features]."""
        centres = points[:, :GROUPS]
        near = torch.cdist(centres, points).topk(self.near, largest=False).indices
        offset = gather(points, near) - centres[:, :, None]
        context = centres[:, :, None].expand_as(offset)
        fine = self.local(torch.cat([offset * 4.0, context], dim=-1)).amax(dim=2)
        seeds = centres[:, : GROUPS // 4]
        near = torch.cdist(seeds, centres).topk(self.near, largest=False).indices
        offset = gather(centres, near) - seeds[:, :, None]
        coarse = self.regional(torch.cat([offset * 2.0, gather(fine, near)], dim=-1)).amax(dim=2)
        out = self.whole(torch.cat([seeds, coarse], dim=-1))
        return torch.cat([out.amax(dim=1), out.mean(dim=1)], dim=-1)

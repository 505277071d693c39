"""How PointBERT cuts a point cloud into local groups, in plain numpy and torch.

Given clouds of one size, gives back centres chosen by farthest point sampling and, around each, its
nearest points. ULIP's code does both with compiled CUDA extensions and starts the sampling at a
random point; here it starts at point 0, so that a cloud always has the same groups.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

_STRAND = 16
"""Points in one strand of a row: every n/16-th."""


@torch.compiler.disable  # type: ignore[untyped-decorator]
def farthest_points(points: Tensor, count: int) -> Tensor:
    """Indices int64 [b, count] of points [b, n, 3] each farthest from those chosen before it.

    The first is point 0; of equally far points the one that comes first is chosen.
    """
    if points.device.type == "cpu":
        clouds = points.float().numpy()
        return torch.from_numpy(np.stack([_farthest_of_one(cloud, count) for cloud in clouds]))
    return farthest_points_batched(points.float(), count)


def farthest_points_batched(points: Tensor, count: int) -> Tensor:
    """The same for all clouds at once, step by step on their device."""
    batch = torch.arange(len(points), device=points.device)
    chosen = torch.zeros(len(points), count, dtype=torch.long, device=points.device)
    nearest = torch.full(points.shape[:2], torch.inf, device=points.device)
    for i in range(1, count):
        latest = points[batch, chosen[:, i - 1], None]
        nearest = torch.minimum(nearest, (points - latest).square().sum(-1))
        chosen[:, i] = nearest.argmax(-1)
    return chosen


def _farthest_of_one(cloud: npt.NDArray[np.float32], count: int) -> npt.NDArray[np.int64]:
    """The same for one cloud [n, 3]: numpy's small calls cost a third of torch's."""
    axes = np.ascontiguousarray(cloud.T)
    offsets = np.empty_like(axes)
    distance = np.empty(axes.shape[1], dtype=np.float32)
    nearest = np.full(axes.shape[1], np.inf, dtype=np.float32)
    chosen = np.zeros(count, dtype=np.int64)
    for i in range(1, count):
        np.subtract(axes, axes[:, chosen[i - 1], None], out=offsets)
        np.multiply(offsets, offsets, out=offsets)
        np.add(offsets[0], offsets[1], out=distance)
        np.add(distance, offsets[2], out=distance)
        np.minimum(nearest, distance, out=nearest)
        chosen[i] = nearest.argmax()
    return chosen


def nearest_points(points: Tensor, centres: Tensor, count: int) -> Tensor:
    """Indices int64 [b, g, count] of the points [b, n, 3] nearest to centres [b, g, 3], unordered.

    One cloud at a time: its g x n distances are 16 MB for 512 centres in 8,192 points.
    """
    found = []
    for cloud, centre in zip(points.float(), centres.float(), strict=True):
        # |p|^2 - 2 c.p orders points as |c - p|^2 does: |c|^2 is the same along a row. Not a matrix product:
        # where those may be TF32, distances would have three digits.
        keys = cloud.square().sum(-1).repeat(len(centre), 1)
        for axis in range(3):
            keys.addcmul_(centre[:, axis, None], cloud[:, axis], value=-2)
        found.append(_smallest(keys, count))
    return torch.stack(found)


def _smallest(values: Tensor, count: int) -> Tensor:
    """Indices [r, count] of the smallest values in each row [r, n], unordered.

    The `count` smallest lie in the `count` strands of the smallest minima, so that only those are
    searched: half the time of topk over the row.
    """
    rows, n = values.shape
    if n < _STRAND * count:
        return values.topk(count, largest=False, sorted=False).indices
    if n % _STRAND:
        values = F.pad(values, (0, -n % _STRAND), value=torch.inf)
    strands = values.view(rows, _STRAND, -1)
    lowest = strands.amin(1).topk(count, largest=False, sorted=False).indices
    candidates = strands.gather(2, lowest[:, None].expand(-1, _STRAND, -1)).flatten(1)
    best = candidates.topk(count, largest=False, sorted=False).indices
    return best // count * strands.shape[2] + lowest.gather(1, best % count)


def group_points(points: Tensor, groups: int, size: int) -> tuple[Tensor, Tensor]:
    """Local groups of clouds [b, n, 3 + c]: (neighbourhoods [b, g, size, 3 + c], centres [b, g, 3]).

    Coordinates are relative to the group's centre; what follows them (colour) is left as it is.
    """
    batch = torch.arange(len(points), device=points.device)
    xyz = points[..., :3]
    centres = xyz[batch[:, None], farthest_points(xyz, groups)]
    neighbourhoods = points[batch[:, None, None], nearest_points(xyz, centres, size)]
    relative = neighbourhoods[..., :3] - centres[:, :, None]
    return torch.cat([relative, neighbourhoods[..., 3:]], dim=-1), centres

"""Bootstrap intervals that draw whole clusters: recordings, meshes, the captions of one picture.

Given what was measured on each row and which cluster each row is of, gives 95 % percentile intervals. Rows of
one cluster say much the same, so drawing them one by one would make an interval look narrower than it is.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import islice

import numpy as np
import numpy.typing as npt
from torch import Tensor

Interval = tuple[float, float] | tuple[None, None]
"""Lower and upper end; nothing where no resamples were asked for."""

Array = npt.NDArray[np.float64]

BLOCK = 50
"""Resamples whose weights of all pairs are held at once."""


def resampled(clusters: Tensor, resamples: int, seed: int) -> Iterator[npt.NDArray[np.intp]]:
    """Rows of one resample after another: as many clusters as there are, drawn with replacement, whole.

    clusters: int64 [n], equal for rows of one cluster.
    """
    codes = np.unique(clusters.numpy(), return_inverse=True)[1]
    order = np.argsort(codes, kind="stable")
    sizes = np.bincount(codes)
    starts = np.cumsum(sizes) - sizes
    rng = np.random.default_rng(seed)
    for _ in range(resamples):
        drawn = rng.integers(len(sizes), size=len(sizes))
        taken = sizes[drawn]
        offsets = np.arange(taken.sum()) - np.repeat(np.cumsum(taken) - taken, taken)
        yield order[np.repeat(starts[drawn], taken) + offsets]


def intervals(
    values: Mapping[str, Tensor],
    clusters: Tensor,
    resamples: int,
    seed: int,
    *,
    of: Callable[[str, Array], float] = lambda name, drawn: float(drawn.mean()),
) -> dict[str, Interval]:
    """The interval of a statistic of each of `values` [n]; by default the mean. All share their draws."""
    if not resamples:
        return dict.fromkeys(values, (None, None))
    table = {name: value.double().cpu().numpy() for name, value in values.items()}
    draws = [
        [of(name, value[rows]) for name, value in table.items()]
        for rows in resampled(clusters, resamples, seed)
    ]
    low, high = np.quantile(np.array(draws), (0.025, 0.975), axis=0)
    return {name: (float(low[j]), float(high[j])) for j, name in enumerate(values)}


def difference_interval(
    first: Tensor, second: Tensor, clusters: tuple[Tensor, Tensor], resamples: int, seed: int
) -> Interval:
    """The interval of mean(first) - mean(second), [n] and [m], each side drawn by its own clusters."""
    if not resamples:
        return None, None
    there, back = (
        np.array([values[rows].mean() for rows in resampled(codes, resamples, seed + number)])
        for number, (values, codes) in enumerate(
            zip((side.double().cpu().numpy() for side in (first, second)), clusters, strict=True)
        )
    )
    low, high = np.quantile(there - back, (0.025, 0.975))
    return float(low), float(high)


def correlation_interval(
    cosines: Tensor, left: Tensor, right: Tensor, clusters: Tensor, resamples: int, seed: int
) -> Interval:
    """The interval of the correlation of the two rows of `cosines` [2, pairs], drawing items, not pairs.

    The pair of items left, right [pairs] counts as often as both were drawn together.
    """
    if not resamples:
        return None, None
    x, y = (row - row.mean() for row in cosines.double().cpu().numpy())
    moments = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1)
    a, b = left.numpy(), right.numpy()
    draws, parts = resampled(clusters, resamples, seed), []
    while block := list(islice(draws, BLOCK)):
        times = np.stack([np.bincount(rows, minlength=len(clusters)) for rows in block])
        parts.append((times[:, a] * times[:, b]).astype(np.float64) @ moments)
    sums = np.concatenate(parts)
    n, x, y, xx, yy, xy = sums[sums[:, 0] > 0].T  # of very few items, no pair may be drawn together
    spread = (n * xx - x * x) * (n * yy - y * y)
    whole = spread > 0
    if not whole.any():
        return None, None
    found = (n * xy - x * y)[whole] / spread[whole] ** 0.5
    low, high = np.quantile(found, (0.025, 0.975))
    return float(low), float(high)

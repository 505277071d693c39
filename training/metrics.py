"""What a space is measured by: retrieval, zero-shot classification, modality gap, preservation.

Every measure takes embeddings in memory (they are normalised here) and gives a frozen record of
`Figure`s: a value, its chance level, and where it makes sense a bootstrap interval. No order among tied
scores is ever assumed (see `ranking`), and no measure holds more than a block of scores.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from connectors.errors import ConfigError
from training.bootstrap import Array, correlation_interval, difference_interval, intervals
from training.ranking import BLOCK_SCORES, chance, standing

PAIRS = 20_000
"""Pairs of items whose cosines are correlated before and after: a standard error below 0.01."""

PLAIN = {"MedR", "distance", "correlation"}
"""Names of figures that are no shares: shown as they are, not in per cent."""

Ids = Tensor | Sequence[Hashable]
"""An identity for each row: int64 [n], or any n hashable values (item ids, class labels)."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number, what chance alone would give, and its 95 % bootstrap interval."""

    value: float
    chance: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Retrieval:
    """One direction of retrieval. Shares in 0..1; ranks count from 1.

    `recall[k]`: the share of queries with a relevant target among the first k.
    """

    recall: dict[int, Figure]
    mean_average_precision: Figure
    median_rank: Figure
    queries: int
    targets: int
    without_relevant: int = 0

    def figures(self) -> dict[str, Figure]:
        """The figures under the names tables give them."""
        recall = {f"R@{k}": figure for k, figure in self.recall.items()}
        return {**recall, "mAP": self.mean_average_precision, "MedR": self.median_rank}


@dataclass(frozen=True, slots=True)
class ZeroShot:
    """Zero-shot classification: `accuracy[k]` is the share of items whose class is among the first k."""

    accuracy: dict[int, Figure]
    items: int
    classes: int

    def figures(self) -> dict[str, Figure]:
        """The figures under the names tables give them."""
        return {f"acc@{k}": figure for k, figure in self.accuracy.items()}


@dataclass(frozen=True, slots=True)
class Preservation:
    """How much of a space's own structure is left in another embedding of the same items.

    `neighbours`: the mean share of an item's k nearest neighbours that it keeps.
    `correlation`: Pearson correlation of the pairwise cosines before and after.
    """

    neighbours: Figure
    correlation: Figure
    k: int
    items: int

    def figures(self) -> dict[str, Figure]:
        """The figures under the names tables give them."""
        return {f"kept@{self.k}": self.neighbours, "correlation": self.correlation}


def retrieval(
    queries: Tensor,
    targets: Tensor,
    query_ids: Ids | None = None,
    target_ids: Ids | None = None,
    *,
    depths: Sequence[int] = (1, 5, 10),
    clusters: Ids | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Retrieval:
    """Retrieve targets [m, d] with queries [n, d] by cosine; relevant are those of the query's id.

    Ids may name items (one or several captions an image) or classes; without any, row i matches row i.
    Queries that no target is relevant to are left out and counted. `clusters` [n] names what the
    bootstrap draws, such as the recording that several clips were cut from; by default the queries.
    Raises `ConfigError` for embeddings that are not finite or ids that do not fit them.
    """
    query_codes, target_codes = _codes(query_ids, target_ids, len(queries), len(targets))
    _check(queries, "queries")
    _check(targets, "targets")
    counts = torch.bincount(target_codes, minlength=int(query_codes.max()) + 1)
    answerable = counts[query_codes] > 0
    if not answerable.any():
        raise ConfigError("no query has a relevant target: do both sides use the same ids or labels?")
    chosen = query_codes[answerable]
    got = standing(queries[answerable.to(queries.device)], targets, chosen, target_codes, depths)
    luck = chance(counts[chosen], len(targets), depths)
    names = _clusters(clusters, len(queries))[answerable]
    values = {**{f"R@{k}": got.recall[k] for k in depths}, "mAP": got.average_precision, "MedR": got.rank}
    ends = intervals(values, names, resamples, seed, of=_average)

    def figure(value: Tensor, level: Tensor, key: str) -> Figure:
        return Figure(float(value), float(level), *ends[key])

    return Retrieval(
        recall={k: figure(got.recall[k].mean(), luck.recall[k].mean(), f"R@{k}") for k in depths},
        mean_average_precision=figure(got.average_precision.mean(), luck.average_precision.mean(), "mAP"),
        median_rank=figure(got.rank.quantile(0.5), luck.rank.quantile(0.5), "MedR"),
        queries=len(chosen),
        targets=len(targets),
        without_relevant=int((~answerable).sum()),
    )


def retrieval_both_ways(
    first: Tensor,
    second: Tensor,
    first_ids: Ids | None = None,
    second_ids: Ids | None = None,
    *,
    clusters: tuple[Ids | None, Ids | None] = (None, None),
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[Retrieval, Retrieval]:
    """`retrieval` of second by first, and of first by second; `clusters` of each."""
    ways = (first, second, first_ids, second_ids), (second, first, second_ids, first_ids)
    there, back = (
        retrieval(*way, clusters=drawn, resamples=resamples, seed=seed)
        for way, drawn in zip(ways, clusters, strict=True)
    )
    return there, back


def zero_shot(
    items: Tensor,
    classes: Tensor,
    labels: Tensor,
    *,
    depths: Sequence[int] = (1, 3, 5),
    clusters: Ids | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> ZeroShot:
    """Classify items [n, d] by the nearest class [c, d]; labels [n] are rows of `classes`.

    The bootstrap draws `clusters` [n] of items. Raises `ConfigError` for a label that is no row of `classes`,
    or values that are not finite.
    """
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < len(classes):
        raise ConfigError(f"labels must lie in 0..{len(classes) - 1}: there are {len(classes)} classes")
    ranked = retrieval(
        items, classes, labels, torch.arange(len(classes)), clusters=clusters,
        depths=[k for k in depths if k <= len(classes)], resamples=resamples, seed=seed,
    )  # fmt: skip
    return ZeroShot(ranked.recall, items=len(items), classes=len(classes))


def class_vectors(prompts: Tensor) -> Tensor:
    """One vector a class from the embeddings of its prompts [c, p, d]: the normalised mean [c, d]."""
    return F.normalize(F.normalize(prompts.float(), dim=-1).mean(1), dim=-1)


def modality_gap(
    first: Tensor,
    second: Tensor,
    *,
    clusters: tuple[Ids | None, Ids | None] = (None, None),
    resamples: int = 1000,
    seed: int = 0,
) -> Figure:
    """Distance between the means of two modalities' unit vectors [n, d], [m, d]; 0..2.

    Liang et al., "Mind the Gap", NeurIPS 2022, section 3. Its chance level is the distance to expect
    between two samples of these sizes from one distribution, (tr S1 / n + tr S2 / m)^(1/2). The interval is
    that of the distance along the line through both means: drawn samples lie further apart than the means do.
    """
    _check(first, "first")
    _check(second, "second")
    units = [F.normalize(x.double().cpu(), dim=1) for x in (first, second)]
    means = [x.mean(0) for x in units]
    spread = [1 - float(mean @ mean) for mean in means]
    expected = spread[0] / len(first) + spread[1] / len(second)
    line = F.normalize(means[0] - means[1], dim=0)
    drawn = _clusters(clusters[0], len(first)), _clusters(clusters[1], len(second))
    ends = difference_interval(units[0] @ line, units[1] @ line, drawn, resamples, seed)
    return Figure(float((means[0] - means[1]).norm()), max(expected, 0.0) ** 0.5, *ends)


def preservation(
    before: Tensor,
    after: Tensor,
    *,
    k: int = 10,
    clusters: Ids | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Preservation:
    """Compare embeddings [n, d1] and [n, d2] of the same n > 2 items, in a base space and past it.

    The bootstrap draws `clusters` [n] of items. Raises `ConfigError` where the rows do not match or are not
    finite.
    """
    if len(before) != len(after) or len(before) < 3:
        raise ConfigError(f"preservation compares the same 3 or more items: {len(before)}, {len(after)}")
    _check(before, "before")
    _check(after, "after")
    n = len(before)
    k = min(k, n - 2)
    rng = torch.Generator().manual_seed(seed)
    shuffle = torch.randperm(n, generator=rng)  # equal neighbours are then picked in no file's order
    old, new = (F.normalize(x.float().cpu()[shuffle], dim=1) for x in (before, after))
    drawn = _clusters(clusters, n)[shuffle]
    shares = []
    for start in range(0, n, max(1, BLOCK_SCORES // n)):
        rows = torch.arange(start, min(n, start + max(1, BLOCK_SCORES // n)))
        nearest = []
        for x in (old, new):
            scores = x[rows] @ x.T
            scores[torch.arange(len(rows)), rows] = -torch.inf
            nearest.append(scores.topk(k, dim=1).indices)
        shares.append((nearest[0][:, :, None] == nearest[1][:, None, :]).sum((1, 2)).double() / k)
    kept = {"kept": torch.cat(shares)}
    left = torch.randint(n, (PAIRS,), generator=rng)
    right = (left + torch.randint(1, n, (PAIRS,), generator=rng)) % n
    cosines = torch.stack([(x[left] * x[right]).sum(1).double() for x in (old, new)])
    # Rounding alone varies a constant: it correlates with nothing.
    varies = bool((cosines.std(dim=1) > 1e-6).all())
    correlation = float(torch.corrcoef(cosines)[0, 1]) if varies else float(torch.equal(*cosines))
    ends = correlation_interval(cosines, left, right, drawn, resamples, seed) if varies else (None, None)
    neighbours = intervals(kept, drawn, resamples, seed)["kept"]
    return Preservation(
        Figure(float(kept["kept"].mean()), k / (n - 1), *neighbours),
        Figure(correlation, 0.0, *ends),
        k=k,
        items=n,
    )


def _check(vectors: Tensor, name: str) -> None:
    if vectors.ndim != 2 or not len(vectors):
        raise ConfigError(f"{name} must be a matrix with a row an item, not {tuple(vectors.shape)}")
    finite = vectors.isfinite().all(1)
    if not finite.all():
        bad = (~finite).nonzero().flatten().tolist()
        raise ConfigError(f"{name}: {len(bad)} rows are not finite, the first is row {bad[0]}")


def _encode(ids: Ids) -> Tensor:
    """Ids as int64 codes, equal where ids are."""
    values = ids.tolist() if isinstance(ids, Tensor) else list(ids)
    codes: dict[Hashable, int] = {}
    return torch.tensor([codes.setdefault(value, len(codes)) for value in values], dtype=torch.int64)


def _codes(query_ids: Ids | None, target_ids: Ids | None, n: int, m: int) -> tuple[Tensor, Tensor]:
    """Codes of both sides, shared between them."""
    if query_ids is None and target_ids is None:
        if n != m:
            raise ConfigError(f"without ids row i matches row i, but there are {n} queries, {m} targets")
        query_ids, target_ids = torch.arange(n), torch.arange(m)
    if query_ids is None or target_ids is None:
        raise ConfigError("give ids for queries and targets, or for neither")
    if (len(query_ids), len(target_ids)) != (n, m) or not n or not m:
        raise ConfigError(
            f"one id a row: {len(query_ids)} ids for {n} queries, {len(target_ids)} for {m} targets"
        )
    sides = [x.tolist() if isinstance(x, Tensor) else list(x) for x in (query_ids, target_ids)]
    codes = _encode([*sides[0], *sides[1]])
    return codes[:n], codes[n:]


def _clusters(clusters: Ids | None, rows: int) -> Tensor:
    """Clusters as codes, int64 [rows]; every row its own where none are given."""
    if clusters is None:
        return torch.arange(rows)
    if len(clusters) != rows:
        raise ConfigError(f"one cluster a row: {len(clusters)} clusters for {rows} rows")
    return _encode(clusters)


def _average(name: str, drawn: Array) -> float:
    """What a figure is of its queries: the median of ranks, the mean of anything else."""
    return float(np.median(drawn)) if name == "MedR" else float(drawn.mean())

"""The arithmetic of search: one vector out of several, one ranking out of several modalities.

Pure functions over vectors and hits. Cosines of different pairs of modalities are not comparable; hits are
ranked by the scores that the space's calibration makes of them, which are.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic_core import to_json

from connectors.calibration import Calibration
from connectors.modality import Modality
from service.engine.embedding import Vectors
from service.errors import InvalidRequest
from service.index.protocol import Hit, StoredPoint

Vector = npt.NDArray[np.float32]

LEAST_NORM = 1e-6
"""Length below which a combination has no direction."""
_MISSING = object()


@dataclass(frozen=True, slots=True, eq=False)
class QueryPart:
    """One part of a query: a unit vector [D], its weight, and its modality where it has one.

    `embedded` are the vectors of a part that was embedded for this query.
    """

    vector: Vector
    weight: float
    modality: Modality | None
    embedded: Vectors | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Ranked:
    """A hit with the score it is ranked by, 0 to 1, and the value of its group where hits are grouped."""

    hit: Hit
    score: float
    group: Any = None


@dataclass(frozen=True, slots=True)
class Contribution:
    """The contribution of a query's `index`-th part to a hit: `share` is its part of the hit's cosine."""

    index: int
    modality: Modality | None
    weight: float
    cosine: float
    share: float


Quota = int | Mapping[Modality, int] | None
"""Most hits of each modality, of some modalities, or as many as there are."""


def combine(parts: Sequence[QueryPart]) -> Vector:
    """Return the weighted sum of the parts' vectors, normalised: float32 [D].

    Raises `InvalidRequest` where the parts cancel out.
    """
    total = _weighted_sum(parts)
    norm = float(np.linalg.norm(total))
    if norm < LEAST_NORM * max(abs(part.weight) for part in parts) or norm == 0.0:
        raise InvalidRequest("the parts of the query cancel each other out; change their weights", "query")
    combined: Vector = (total / norm).astype(np.float32)
    return combined


def explain(parts: Sequence[QueryPart], vector: Vector) -> list[Contribution]:
    """Return each query part's contribution to the hit with this unit vector [D].

    The shares add up to its cosine.

    The query is q = sum(w_i v_i) / n, with n the sum's length: the hit's cosine q.x is sum(w_i (v_i.x) / n).
    """
    norm = float(np.linalg.norm(_weighted_sum(parts)))
    shares = []
    for i, part in enumerate(parts):
        cosine = float(part.vector.astype(np.float64) @ vector)
        shares.append(Contribution(i, part.modality, part.weight, cosine, part.weight * cosine / norm))
    return shares


def score(
    calibration: Calibration, parts: Sequence[QueryPart], target: Modality, cosines: Sequence[float]
) -> list[float]:
    """Return scores of hits of one modality. A query of several modalities has the mean of their curves.

    The mean is over the parts that attract, by weight, and never reorders hits of one modality.
    """
    attracting = [part for part in parts if part.weight > 0] or list(parts)
    values = np.array(cosines, dtype=np.float64)
    total = np.zeros_like(values)
    for part in attracting:
        # A vector given as such has no modality, and so no fitted curve.
        curves, query = (calibration, part.modality) if part.modality else (Calibration.none(), target)
        total += abs(part.weight) * curves.score(query, target, values)
    mean: list[float] = (total / sum(abs(part.weight) for part in attracting)).tolist()
    return mean


def rank(each: Ranked) -> tuple[float, float, str]:
    """Return what a hit is ordered by, the least first: its score, its cosine and its point's id.

    No two hits have the same, and those of one modality are in the index's own order: by cosine, then by id,
    also where a curve is so flat that different cosines have one score.
    """
    return -each.score, -each.hit.cosine, each.hit.point.id


def merge(ranked: Iterable[Ranked]) -> list[Ranked]:
    """Merge hits into one ranking, best first."""
    return sorted(ranked, key=rank)


def quota_of(quota: Quota, modality: Modality) -> float:
    """Return the most hits of one modality; infinity where there is no bound."""
    if isinstance(quota, Mapping):
        return quota.get(modality, float("inf"))
    return float("inf") if quota is None else quota


def within_quota(ranked: Iterable[Ranked], quota: Quota) -> list[Ranked]:
    """Return the first hits of each modality, up to its quota."""
    taken: Counter[Modality] = Counter()
    kept = []
    for each in ranked:
        modality = each.hit.point.modality
        taken[modality] += 1
        if taken[modality] <= quota_of(quota, modality):
            kept.append(each)
    return kept


def best_of_each(ranked: Iterable[Ranked], field: str) -> list[Ranked]:
    """Return the first hit of every value of a field, its group; hits without the field are left out."""
    groups: dict[bytes, Ranked] = {}
    for each in ranked:
        value = field_of(each.hit.point, field)
        if value is not _MISSING and value is not None:
            groups.setdefault(to_json(value), replace(each, group=value))
    return list(groups.values())


def field_of(point: StoredPoint, field: str) -> Any:
    """Return a point's field by path (`name`, `metadata.album`, `metadata."a b"`), or `_MISSING`."""
    value: Any = {**point.payload, "id": point.id, "modality": point.modality, "space": point.space}
    for part in (each.strip('"') for each in re.findall(r'"[^"]*"|[^."]+', field)):
        if not isinstance(value, Mapping) or part not in value:
            return _MISSING
        value = value[part]
    return value


def _weighted_sum(parts: Sequence[QueryPart]) -> npt.NDArray[np.float64]:
    total: npt.NDArray[np.float64] = np.sum(
        [part.weight * part.vector.astype(np.float64) for part in parts], axis=0
    )
    return total

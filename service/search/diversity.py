"""Diverse rankings: near-duplicates left out, or different hits moved up.

Pure functions over hits that carry their unified vectors.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from connectors.calibration import Calibration
from connectors.modality import Modality
from service.search.scoring import Ranked


def without_duplicates(ranked: Sequence[Ranked], threshold: float) -> list[Ranked]:
    """Return the hits whose cosine to every better kept one of their modality is below the threshold.

    Better hits alone decide whether a hit is kept: a longer ranking begins with the result of a shorter one.
    """
    kept: list[Ranked] = []
    hits = Counter(each.hit.point.modality for each in ranked)
    taken: Counter[Modality] = Counter()
    of_modality: dict[Modality, npt.NDArray[np.float32]] = {}
    for each in ranked:
        modality, vector = each.hit.point.modality, _vector(each)
        if modality not in of_modality:
            of_modality[modality] = np.empty((hits[modality], len(vector)), np.float32)
        others, count = of_modality[modality], taken[modality]
        if not count or float(np.max(others[:count] @ vector)) < threshold:
            others[count] = vector
            taken[modality] += 1
            kept.append(each)
    return kept


def diversified(ranked: Sequence[Ranked], diversity: float, calibration: Calibration) -> list[Ranked]:
    """Return the same hits by maximal marginal relevance.

    After Carbonell and Goldstein (1998), their lambda being 1 - diversity. Next comes the hit with the
    greatest (1 - diversity) * score - diversity * (its greatest likeness to a hit taken before); 0 leaves the
    order as it is. Likeness is on the scale of the scores, the calibrated chance that two hits match: raw
    cosines would favour whatever is of another modality.
    """
    if not ranked:
        return []
    likeness = _likeness(ranked, calibration)
    relevance = (1 - diversity) * np.array([each.score for each in ranked])
    nearest = np.zeros(len(ranked))
    order: list[int] = []
    for _ in ranked:
        value = relevance - diversity * nearest
        value[order] = -np.inf
        order.append(int(np.argmax(value)))
        nearest = np.maximum(nearest, likeness[order[-1]])
    return [ranked[i] for i in order]


def _likeness(ranked: Sequence[Ranked], calibration: Calibration) -> npt.NDArray[np.float64]:
    """Return the score of each hit for each hit as a query: [n, n]."""
    vectors = np.stack([_vector(each) for each in ranked]).astype(np.float64)
    likeness = vectors @ vectors.T
    rows: dict[Modality, list[int]] = {}
    for i, each in enumerate(ranked):
        rows.setdefault(each.hit.point.modality, []).append(i)
    for query, of_query in rows.items():
        for target, of_target in rows.items():
            block = np.ix_(of_query, of_target)
            likeness[block] = calibration.score(query, target, likeness[block])
    return likeness


def _vector(each: Ranked) -> npt.NDArray[np.float32]:
    vector = each.hit.point.unified
    assert vector is not None  # the search asked the index for vectors
    return vector

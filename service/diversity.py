"""Rankings whose hits are not all the same: near-duplicates left out, or the different brought forward.

Pure functions over hits that carry their unified vectors.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from connectors.modality import Modality
from service.ranking import Ranked


def without_duplicates(ranked: Sequence[Ranked], threshold: float) -> list[Ranked]:
    """The hits whose cosine to every better kept one of their modality is below the threshold.

    Whether a hit is kept depends on better ones alone: a longer ranking begins with what a shorter one gives.
    """
    kept: list[Ranked] = []
    of_modality: dict[Modality, list[npt.NDArray[np.float32]]] = {}
    for each in ranked:
        vector, others = _vector(each), of_modality.setdefault(each.hit.point.modality, [])
        if not others or float(np.max(np.stack(others) @ vector)) < threshold:
            others.append(vector)
            kept.append(each)
    return kept


def diversified(ranked: Sequence[Ranked], diversity: float) -> list[Ranked]:
    """The same hits by maximal marginal relevance.

    After Carbonell and Goldstein (1998), their lambda being 1 - diversity. Next comes the hit with the
    greatest (1 - diversity) * score - diversity * (its greatest cosine to a hit taken before); 0 leaves the
    order as it is.
    """
    if not ranked:
        return []
    vectors = np.stack([_vector(each) for each in ranked])
    relevance = (1 - diversity) * np.array([each.score for each in ranked])
    nearest = np.full(len(ranked), -np.inf)
    order: list[int] = []
    for _ in ranked:
        value = relevance - diversity * nearest if order else relevance.copy()
        value[order] = -np.inf
        chosen = int(np.argmax(value))
        order.append(chosen)
        nearest = np.maximum(nearest, vectors @ vectors[chosen])
    return [ranked[i] for i in order]


def _vector(each: Ranked) -> npt.NDArray[np.float32]:
    vector = each.hit.point.unified
    assert vector is not None  # whoever asks for this has asked the index for vectors
    return vector

"""Ranked hits made by hand, for the tests of what is done to rankings."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from connectors.modality import Modality
from service.index.protocol import Hit, StoredPoint
from service.search.scoring import Ranked


def hit(
    name: str,
    score: float,
    modality: Modality = "image",
    vector: Sequence[float] = (1.0, 0.0),
    **metadata: Any,
) -> Ranked:
    """A hit whose vector is `vector`, normalised."""
    unified = np.asarray(vector, dtype=np.float32)
    point = StoredPoint(
        name, modality, "clip", {"metadata": metadata}, unified=unified / np.linalg.norm(unified)
    )
    return Ranked(Hit(point, score), score)


def names(ranked: Sequence[Ranked]) -> list[str]:
    return [each.hit.point.id for each in ranked]

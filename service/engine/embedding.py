"""What the engine gives back for one item: its vectors, what it was found to be, and where its time went."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from connectors.modality import Modality

Vector = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Stages:
    """Seconds one item spent waiting, being decoded and in the encoder's batch."""

    queue: float = 0.0
    decode: float = 0.0
    inference: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Vectors:
    """The native [d] and unified [D] vector of one item, float32, L2-normalised.

    `tokens` is the length of a text in tokens, 0 for other media; `connector` is what gave `unified`.
    """

    native: Vector
    unified: Vector
    tokens: int
    connector: str


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """One item, embedded."""

    modality: Modality
    mime: str
    sha256: str
    vectors: Vectors
    stages: Stages
    cached: bool

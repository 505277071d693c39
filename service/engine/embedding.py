"""One item's embedding: its vectors, its modality and type, and where its time went."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from connectors.modality import Modality
from connectors.space import UnifiedSpace
from service.timings import Stages

Vector = npt.NDArray[np.float32]
Matrix = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Vectors:
    """The native [d] and unified [D] vector of one item, float32, L2-normalised.

    `tokens` is the length of a text in tokens, 0 for other media; `connector` is the version that made
    `unified`. `given` and `understood` are those of the item's `Prepared`: what is known of a text stays with
    its vector wherever that is kept or shared.
    """

    native: Vector
    unified: Vector
    tokens: int
    connector: str
    given: int | None = None
    understood: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """One item, embedded."""

    modality: Modality
    mime: str
    sha256: str
    vectors: Vectors
    stages: Stages
    cached: bool


def project(space: UnifiedSpace, modality: Modality, native: Matrix) -> Matrix:
    """Project native vectors [n, d] to unified vectors [n, dim] in `space`."""
    unified: Matrix = space.project(modality, torch.from_numpy(np.array(native))).numpy()
    return unified


def project_again(space: UnifiedSpace, modality: Modality, vectors: Vectors) -> Vectors:
    """Project one item's native vector with the connector of `space`, without an encoder."""
    unified = project(space, modality, vectors.native[None])[0]
    return replace(vectors, unified=unified, connector=space.connector_version)

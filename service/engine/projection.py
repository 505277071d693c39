"""Vectors under another connector: projected anew from their native ones, without an encoder."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from connectors.modality import Modality
from connectors.space import UnifiedSpace
from service.engine.embedding import Vectors

Matrix = npt.NDArray[np.float32]


def project(space: UnifiedSpace, modality: Modality, native: Matrix) -> Matrix:
    """Native vectors [n, d] -> unified vectors [n, dim] in `space`."""
    unified: Matrix = space.project(modality, torch.from_numpy(np.array(native))).numpy()
    return unified


def project_anew(space: UnifiedSpace, modality: Modality, vectors: Vectors) -> Vectors:
    """One item's vectors with the unified one in `space`."""
    unified = project(space, modality, vectors.native[None])[0]
    return replace(vectors, unified=unified, connector=space.connector_version)

"""Stored points as back ends handle them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Record:
    """One stored point by its Qdrant id; `vectors` is empty where a call did not ask for them."""

    uuid: str
    payload: Mapping[str, Any]
    vectors: Mapping[str, npt.NDArray[np.float32]]
    score: float = 0.0

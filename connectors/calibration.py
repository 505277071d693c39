"""Score calibration: raw cosines of different modality pairs, made comparable.

Cosines between two sounds run far higher than cosines between a sound and a picture. For each pair of
modalities a logistic curve, fitted on validation data, turns a cosine into the estimated probability that
the two match (Platt scaling), which is what search ranks by.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from connectors.errors import ConfigError, MissingFiles
from connectors.modality import Modality

Array = npt.NDArray[np.float64]


class PairCurve(BaseModel):
    """score = sigmoid(slope * cosine + bias). `mean` and `std` describe non-matching cosines."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    slope: float = Field(gt=0, description="Positive, so that a score never reorders its own pair")
    bias: float
    mean: float | None = None
    std: float | None = Field(default=None, gt=0)


# A plain cosine seen as a score in 0..1, for bundles without a calibration.
_UNCALIBRATED = PairCurve(slope=4.0, bias=0.0)


class Calibration(BaseModel):
    """Curves by `query->target` modalities."""

    model_config = ConfigDict(extra="forbid")

    pairs: dict[str, PairCurve]

    @classmethod
    def none(cls) -> "Calibration":
        """Calibration of a bundle that has none: one curve for all pairs."""
        return cls(pairs={})

    @classmethod
    def load(cls, path: Path) -> "Calibration":
        """Read a calibration file. Raises `MissingFiles` or `ConfigError`."""
        if not path.is_file():
            raise MissingFiles(f"{path}: the bundle names this calibration file, but it is not there")
        try:
            return cls.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise ConfigError(f"{path} is not a calibration file: {error}") from error

    def curve(self, query: Modality, target: Modality) -> PairCurve:
        """The curve of one directed pair."""
        return self.pairs.get(f"{query}->{target}", _UNCALIBRATED)

    def score(self, query: Modality, target: Modality, cosine: Array) -> Array:
        """Cosines of one pair of modalities -> scores in 0..1, of the same shape; equal ones are equal."""
        curve = self.curve(query, target)
        # Not torch's sigmoid, which gives a number another last bit at the end of an array than before it.
        with np.errstate(over="ignore"):  # 1 / inf is 0
            scores: Array = 1 / (1 + np.exp(-(curve.slope * cosine + curve.bias)))
        return scores

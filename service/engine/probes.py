"""The smallest media of each modality: what an encoder is warmed up and probed with."""

from collections.abc import Mapping

import numpy as np
from PIL import Image

from connectors.modality import SAMPLE_RATE, Media, Modality


def probe_media() -> Mapping[Modality, Media]:
    """One decoded item a modality, always the same."""
    rng = np.random.default_rng(0)
    return {
        "text": "a probe",
        "image": Image.linear_gradient("L").convert("RGB"),
        "audio": rng.normal(scale=0.1, size=SAMPLE_RATE).astype(np.float32),
        "point_cloud": rng.normal(size=(1024, 3)).astype(np.float32),
    }

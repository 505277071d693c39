"""The four kinds of media, and the type each has once decoded."""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL.Image import Image

Modality: TypeAlias = str
"""The name of a kind of media. A bundle says which it embeds."""

MODALITIES: tuple[Modality, ...] = ("text", "image", "audio", "point_cloud")

SAMPLE_RATE = 48_000
"""Sample rate of every decoded waveform, in Hz."""

Waveform: TypeAlias = npt.NDArray[np.float32]
"""Mono sound at `SAMPLE_RATE`: float32 [samples], nominally in -1..1."""

Points: TypeAlias = npt.NDArray[np.float32]
"""A point cloud: float32 [N, 3] xyz, in the file's own units and axes."""

Media: TypeAlias = str | Image | Waveform | Points
"""Decoded media: a str, an RGB PIL image, a `Waveform` or `Points`."""

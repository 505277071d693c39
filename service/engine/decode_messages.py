"""Messages between `DecodeProcesses` and its children: one file to decode, and each kind of decoded media."""

from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from connectors.media import Limits
from connectors.modality import Media
from service.concurrency.messages import Kinds, Request


@dataclass(frozen=True)
class Text:
    """A decoded text."""

    media: str


@dataclass(frozen=True, eq=False)
class Pixels:
    """A decoded image: uint8 [height, width, 3], RGB."""

    pixels: npt.NDArray[np.uint8]

    @property
    def media(self) -> Image.Image:
        """The image."""
        return Image.fromarray(self.pixels)


@dataclass(frozen=True, eq=False)
class Samples:
    """A decoded sound: float32 [samples]."""

    media: npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Cloud:
    """A decoded point cloud: float32 [N, 3]."""

    media: npt.NDArray[np.float32]


Decoded: TypeAlias = Text | Pixels | Samples | Cloud


@dataclass(frozen=True)
class Decode(Request[Decoded]):
    """Decode a file as `connectors.media.decode` does; the child is killed if it takes `seconds`."""

    modality: str
    data: bytes = field(repr=False)
    name: str
    limits: Limits
    seconds: int


DECODE_REQUESTS: Kinds[Decode] = Kinds(Decode)


def decoded_message(media: Media) -> Decoded:
    """Return decoded media as a message, which reads them back as `media`."""
    if isinstance(media, str):
        return Text(media)
    if isinstance(media, Image.Image):
        return Pixels(np.asarray(media))
    return Samples(media) if media.ndim == 1 else Cloud(media)

"""Media from bytes: every format served, decoded to what the encoders take.

`sniff` tells what bytes are; `decode` turns them into a `str`, an RGB image, a 48 kHz mono waveform
or an [N, 3] cloud. Both raise `MediaError`s that name the item, hold no state, and may be called
from any number of threads; the same bytes always decode to the same media.
"""

from typing import Literal, overload

from PIL.Image import Image

from connectors.errors import UnsupportedMedia
from connectors.media import audio, image, point_cloud, text
from connectors.media.limits import DEFAULT_LIMITS, Limits
from connectors.media.sniff import MediaType, sniff
from connectors.media.source import Source
from connectors.modality import MODALITIES, Media, Modality, Points, Waveform

__all__ = ["Limits", "MediaType", "decode", "sniff"]


@overload
def decode(
    modality: Literal["text"], data: bytes, *, name: str | None = None, limits: Limits = ...
) -> str: ...
@overload
def decode(
    modality: Literal["image"], data: bytes, *, name: str | None = None, limits: Limits = ...
) -> Image: ...
@overload
def decode(
    modality: Literal["audio"], data: bytes, *, name: str | None = None, limits: Limits = ...
) -> Waveform: ...
@overload
def decode(
    modality: Literal["point_cloud"], data: bytes, *, name: str | None = None, limits: Limits = ...
) -> Points: ...
@overload
def decode(modality: Modality, data: bytes, *, name: str | None = None, limits: Limits = ...) -> Media: ...
def decode(
    modality: Modality, data: bytes, *, name: str | None = None, limits: Limits = DEFAULT_LIMITS
) -> Media:
    """Decode one file of a known modality; `name` is what messages call it, and a format hint.

    Returns a `str`, an RGB image, float32 [samples] at 48 kHz, or float32 [N, 3].

    Raises `InvalidMedia` (damaged, empty, degenerate, or of another modality), `MediaTooLarge`
    (before the expensive part of decoding) or `UnsupportedMedia`; nothing else, whatever the bytes.
    """
    source = Source(data, name, limits)
    source.check_bytes()
    match modality:
        case "text":
            return text.decode(source)
        case "image":
            return image.decode(source)
        case "audio":
            return audio.decode(source)
        case "point_cloud":
            return point_cloud.decode(source)
    raise UnsupportedMedia(f"there is no modality {modality!r}; there are {', '.join(MODALITIES)}")

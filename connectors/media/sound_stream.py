"""Sound as a reader hands it over, in blocks of samples; libsndfile's reader, and the checks of both readers.

`connectors.media.ffmpeg_sound` has the other. Each reads a file from memory a block at a time, holds what its
header declares against `max_seconds` before it decodes anything, and opens nothing else.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO

import soundfile

from connectors.errors import UnsupportedMedia
from connectors.media.mono import Channels
from connectors.media.source import Source

BLOCK_SAMPLES = 1 << 20
"""Samples libsndfile reads at a time, over all channels."""

MOST_CHANNELS = 64
DENSEST = 65_536
"""Samples a byte may hold. FLAC packs most: a silent block of 65,535 in some ten bytes."""

MPEG_SLACK = 2 * 1152
"""Samples an mp3 may lack against its header: encoders count their padding differently."""

ROUNDING = 0.01
"""Seconds a sound may lack against its header: encoders round to a block, and players cut the padding."""


class Undecodable(Exception):
    """FFmpeg cannot decode a file. `is_bad_data`: what it read is none of the format."""

    def __init__(self, message: str, *, is_bad_data: bool) -> None:
        super().__init__(message)
        self.is_bad_data = is_bad_data


@dataclass(frozen=True, slots=True)
class Block:
    """Samples of one rate, in Hz."""

    rate: int
    samples: Channels


@dataclass(frozen=True, slots=True)
class Stream:
    """Blocks as they come, and how many seconds the header has them last: a hint, 0 if it has none."""

    seconds: float
    blocks: Iterator[Block]


@contextmanager
def libsndfile(source: Source, data: bytes) -> Iterator[Stream]:
    """Read `data` as libsndfile does. Raises `soundfile.SoundFileError` if it cannot."""
    with soundfile.SoundFile(BytesIO(data)) as file:
        check_channels(source, file.channels)
        seconds = file.frames / file.samplerate
        check_declared(source, data, seconds, file.samplerate)
        yield Stream(seconds, _file_blocks(source, file))


def _file_blocks(source: Source, file: soundfile.SoundFile) -> Iterator[Block]:
    size = max(BLOCK_SAMPLES // file.channels, 1)
    count = 0
    while len(block := file.read(size, dtype="float32", always_2d=True)):
        count += len(block)
        yield Block(file.samplerate, block)
    slack = MPEG_SLACK if file.subtype.startswith("MPEG") else 0
    check_complete(source, count, file.frames, max(slack, ROUNDING * file.samplerate))


def unknown_codec(source: Source) -> UnsupportedMedia:
    """Return the error for a container that is read, with sound in it that is not."""
    return UnsupportedMedia(f"{source.label} holds sound of a codec that is not supported")


def check_channels(source: Source, channels: int) -> None:
    """Refuse more than `MOST_CHANNELS`: raise `MediaTooLarge`."""
    if channels > MOST_CHANNELS:
        raise source.too_large(f"{channels:,} channels", f"{MOST_CHANNELS}")


def check_declared(source: Source, data: bytes, seconds: float, rate: int) -> None:
    """Hold the length that the header declares against the bytes there are and `max_seconds`."""
    if seconds * rate > DENSEST * len(data):
        raise source.invalid("is damaged: its header declares more sound than its bytes can hold")
    if seconds > source.limits.max_seconds:
        raise source.too_large(f"{seconds:,.0f} s of sound", f"{source.limits.max_seconds:g}")


def check_complete(source: Source, count: int, declared: int, slack: float) -> None:
    """Refuse a file with fewer samples than its header declares: raise `InvalidMedia`."""
    if count < declared - slack:
        raise source.invalid(f"is cut off: {declared - count:,} samples are missing")

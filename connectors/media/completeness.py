"""Whether a sound file is whole, told from its outermost structure.

Decoders play what is left of a file that was cut off and say nothing. Each function here is given
a `Source`, walks the containers' own sizes or page flags, and raises `InvalidMedia` if bytes are
missing, `MediaTooLarge` if the file is endless small parts. Sizes a live recorder leaves open prove
nothing and pass.
"""

import struct
from collections.abc import Iterator
from typing import Literal

from connectors.errors import InvalidMedia
from connectors.media.source import Source

OPEN_SIZE = 0xFFFFFFFF
MOST_PARTS = 300_000
"""Pages or boxes of a file. Ten minutes in the shortest Opus packets, a page each, are 240,000; of 12
million empty boxes FFmpeg makes minutes of work."""

LAST_PAGE = 4
"""Ogg's end-of-stream flag in a page's header type (RFC 3533, section 6)."""


def check_wav(source: Source) -> None:
    """The `data` chunk is there and all of it. RF64 keeps its sizes elsewhere and is not checked.

    Source: Multimedia Programming Interface and Data Specifications 1.0, chapter 3.
    """
    if source.data[:4] == b"RIFF":
        _check_chunk(source, b"data", "little")


def check_aiff(source: Source) -> None:
    """The `SSND` chunk is there and all of it. Source: Apple, AIFF 1.3."""
    _check_chunk(source, b"SSND", "big")


def _check_chunk(source: Source, wanted: bytes, order: Literal["little", "big"]) -> None:
    position = 12
    while position + 8 <= len(source.data):
        kind = source.data[position : position + 4]
        size = int.from_bytes(source.data[position + 4 : position + 8], order)
        position += 8
        if kind == wanted:
            if size != OPEN_SIZE and position + size > len(source.data):
                raise _cut_off(source, size - (len(source.data) - position))
            return
        position += size + size % 2
    raise source.invalid("is cut off: it has no samples")


def check_ogg(source: Source) -> None:
    """Every page is whole and every logical stream has its last page. Source: RFC 3533."""
    position = 0
    unfinished: set[int] = set()
    pages = 0
    while position < len(source.data):
        pages += 1
        _check_parts(source, pages)
        header = source.data[position : position + 27]
        if len(header) < 27 or header[:4] != b"OggS":
            raise source.invalid(f"is damaged or cut off at byte {position:,}")
        flags, serial, segments = header[5], struct.unpack_from("<I", header, 14)[0], header[26]
        lacing = source.data[position + 27 : position + 27 + segments]
        position += 27 + segments + sum(lacing)
        if position > len(source.data) or len(lacing) < segments:
            raise _cut_off(source, max(position - len(source.data), 1))
        if flags & LAST_PAGE:
            unfinished.discard(serial)
        else:
            unfinished.add(serial)
    if unfinished:
        raise source.invalid("is cut off: its last Ogg page is missing")


def check_mp4(source: Source) -> None:
    """Every top-level box is whole and `moov` is among them. Source: ISO/IEC 14496-12, 4.2."""
    kinds = set()
    for number, (kind, end) in enumerate(_boxes(source.data), 1):
        _check_parts(source, number)
        if end > len(source.data):
            raise _cut_off(source, end - len(source.data))
        kinds.add(kind)
    if b"moov" not in kinds:
        raise source.invalid("is cut off: it has no index (moov box)")


def _boxes(data: bytes) -> Iterator[tuple[bytes, int]]:
    """Each top-level box: its type, and where it ends by its own account."""
    position = 0
    while position + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, position)
        if size == 0:  # to the end of the file
            size = len(data) - position
        elif size == 1 and position + 16 <= len(data):
            size = struct.unpack_from(">Q", data, position + 8)[0]
        position += max(size, 8)
        yield kind, position


def check_webm(source: Source) -> None:
    """The segment is whole, where its size is known. Source: RFC 8794, sections 4 and 5."""
    _, header_size, start = _element(source, 0)
    segment, size, start = _element(source, start + (header_size or 0))
    if segment != 0x18538067:
        raise source.invalid("is damaged: its Matroska segment is missing")
    if size is not None and start + size > len(source.data):
        raise _cut_off(source, start + size - len(source.data))


def _element(source: Source, position: int) -> tuple[int, int | None, int]:
    """An EBML element: identifier, size (None where unknown), and where its contents start."""
    numbers = []
    for keep_marker in (True, False):
        if position >= len(source.data) or source.data[position] == 0:
            raise source.invalid("is damaged or cut off in its header")
        width = 9 - source.data[position].bit_length()
        number = int.from_bytes(source.data[position : position + width], "big")
        numbers.append(number if keep_marker else number - (1 << 7 * width))
        position += width
    identifier, size = numbers
    unknown = size == (1 << 7 * width) - 1
    return identifier, None if unknown else size, position


def _check_parts(source: Source, number: int) -> None:
    if number > MOST_PARTS:
        raise source.too_large(f"more than {MOST_PARTS:,} pages or boxes", f"{MOST_PARTS:,}")


def _cut_off(source: Source, missing: int) -> InvalidMedia:
    return source.invalid(f"is cut off: {missing:,} bytes are missing")

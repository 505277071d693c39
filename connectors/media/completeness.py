"""Checks that a sound file is whole, by its outermost structure.

Decoders play what is left of a file that was cut off and say nothing. Each function here is given
a `Source`, walks the container's own sizes, and raises `InvalidMedia` if bytes are clearly missing,
`MediaTooLarge` if the file is endless small parts. Sizes a live recorder leaves open prove nothing
and pass, as do bytes behind the end.
"""

import struct
from collections.abc import Iterator

from connectors.errors import InvalidMedia
from connectors.media.source import Source

OPEN_SIZES = (0, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
MOST_PARTS = 300_000
"""Pages, boxes or frames of a file. Ten minutes in the shortest Opus packets, a page each, are 240,000;
of 12 million empty boxes FFmpeg makes minutes of work."""

COUNTED_TOO_MUCH = 64
"""Bytes a size may be too large without anything missing: some writers count a header or padding."""

ESSENTIAL_BOXES = (b"moov", b"mdat", b"moof")


def check_parts(source: Source, number: int) -> None:
    """Raise `MediaTooLarge` past `MOST_PARTS`."""
    if number > MOST_PARTS:
        raise source.too_large(f"more than {MOST_PARTS:,} pages or boxes", f"{MOST_PARTS:,}")


def cut_off(source: Source, missing: int) -> InvalidMedia:
    """Return the error for a file that lacks its last bytes."""
    return source.invalid(f"is cut off: {max(missing, 1):,} bytes are missing")


def _check_end(source: Source, end: int) -> None:
    if end > len(source.data) + COUNTED_TOO_MUCH:
        raise cut_off(source, end - len(source.data))


def check_aiff(source: Source) -> None:
    """The `SSND` chunk is there and all of it. Source: Apple, AIFF 1.3."""
    position = 12
    for number in range(len(source.data)):
        check_parts(source, number)
        if position + 8 > len(source.data):
            break
        kind, size = struct.unpack_from(">4sI", source.data, position)
        position += 8
        if kind == b"SSND":
            if size not in OPEN_SIZES:
                _check_end(source, position + size)
            return
        position += size + size % 2
    raise source.invalid("is cut off: it has no samples")


def check_au(source: Source) -> None:
    """All samples that the header counts are there. Source: Sun, audio(5) file format."""
    order = ">" if source.data[:4] == b".snd" else "<"
    if len(source.data) < 24:
        raise source.invalid("is cut off in its header")
    offset, size = struct.unpack_from(f"{order}II", source.data, 4)
    if size not in OPEN_SIZES:
        _check_end(source, offset + size)


def check_caf(source: Source) -> None:
    """The `data` chunk is there and all of it. Source: Apple, Core Audio Format 1.0."""
    position = 8
    for number in range(len(source.data)):
        check_parts(source, number)
        if position + 12 > len(source.data):
            break
        kind, size = struct.unpack_from(">4sq", source.data, position)
        position += 12 + max(size, 0)
        if kind == b"data":
            _check_end(source, position)  # of size -1: to the end of the file
            return
    raise source.invalid("is cut off: it has no samples")


def check_w64(source: Source) -> None:
    """The `data` chunk is there and all of it. Source: Sonic Foundry, Wave64 file format."""
    position = 40
    for number in range(len(source.data)):
        check_parts(source, number)
        if position + 24 > len(source.data):
            break
        kind, size = struct.unpack_from("<4s12xQ", source.data, position)
        if kind == b"data":
            if 24 < size < 1 << 62:
                _check_end(source, position + size)
            return
        position += max(size + 7 & ~7, 24)
    raise source.invalid("is cut off: it has no samples")


def check_asf(source: Source) -> None:
    """The file has the size it tells, unless it was broadcast.

    Source: Microsoft, Advanced Systems Format 1.2, section 3.2 (File Properties Object).
    """
    at = source.data.find(bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365"), 0, 1 << 16)
    if at < 0 or at + 92 > len(source.data):
        raise source.invalid("is damaged or cut off in its header")
    size, flags = struct.unpack_from("<Q40xI", source.data, at + 40)
    if not flags & 1:
        _check_end(source, size)


def check_dsf(source: Source) -> None:
    """The file has the size it tells. Source: Sony, DSF File Format Specification 1.01."""
    if len(source.data) < 28:
        raise source.invalid("is cut off in its header")
    _check_end(source, int.from_bytes(source.data[12:20], "little"))


def check_mp4(source: Source) -> None:
    """Every top-level box of sound is whole and `moov` is there. Source: ISO/IEC 14496-12, 4.2."""
    kinds = set()
    for number, (kind, end) in enumerate(_boxes(source.data), 1):
        check_parts(source, number)
        if end > len(source.data) and (kind in ESSENTIAL_BOXES or b"moov" not in kinds):
            raise cut_off(source, end - len(source.data))
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
        raise cut_off(source, start + size - len(source.data))


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

"""The chunks of a WebP file. Source: RFC 9649, section 2."""

import struct
from collections.abc import Iterator

SIGHTS = {b"VP8 ", b"VP8L", b"ANMF"}
"""Chunks of pixels; those behind the first are not needed."""
EXIF_AND_XMP = 0x0C
"""The flags of VP8X that announce them."""


def canvas(data: bytes) -> tuple[int, int] | None:
    """Return the size of a WebP's canvas, None if this is no WebP or it does not say.

    Pillow asks for the canvas's memory before it tells its size.
    """
    if data[:4] != b"RIFF" or len(data) < 30:
        return None
    kind, head = data[12:16], data[20:30]
    if kind == b"VP8X":
        return _number(head[4:7]) + 1, _number(head[7:10]) + 1
    if kind == b"VP8L":
        bits = _number(head[1:5])
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        return _number(head[6:8]) & 0x3FFF, _number(head[8:10]) & 0x3FFF
    return None


def first_frame(data: bytes) -> tuple[int, int, int, int] | None:
    """Return left, top, right and bottom of an animation's first frame, None if it is no animation."""
    for kind, start, _ in _chunks(data):
        if kind in SIGHTS:
            if kind != b"ANMF":
                return None
            # x / 2, y / 2, width - 1, height - 1
            x, y, width, height = (_number(data[at : at + 3]) for at in range(start + 8, start + 20, 3))
            return 2 * x, 2 * y, 2 * x + width + 1, 2 * y + height + 1
    return None


def without_metadata(data: bytes) -> bytes:
    """Return the file without EXIF and XMP."""
    kept = []
    for kind, start, end in _chunks(data):
        chunk = data[start:end]
        if kind == b"VP8X" and len(chunk) > 8:
            chunk = chunk[:8] + bytes([chunk[8] & ~EXIF_AND_XMP]) + chunk[9:]
        if kind not in (b"EXIF", b"XMP "):
            kept.append(chunk)
    body = b"WEBP" + b"".join(kept)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Each chunk's type, where it starts, and where it ends; the last may end past the file."""
    at = 12
    while at + 8 <= len(data):
        size = _number(data[at + 4 : at + 8])
        end = at + 8 + size + size % 2
        yield data[at : at + 4], at, end
        at = end


def _number(little: bytes) -> int:
    return int.from_bytes(little, "little")

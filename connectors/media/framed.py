"""Sounds that are a row of frames without a container: AMR and AC-3.

Decoders stop at the first frame that is cut off, or hide it. The frames tell their own size, so the
last one is held against the file here.
"""

from connectors.media.completeness import check_parts, cut_off
from connectors.media.source import Source

AMR_NARROW, AMR_WIDE = b"#!AMR\n", b"#!AMR-WB\n"
AMR_BYTES = {
    AMR_NARROW: (13, 14, 16, 18, 20, 21, 27, 32, 6, 6, 6, 6, 1, 1, 1, 1),
    AMR_WIDE: (18, 24, 33, 37, 41, 47, 51, 59, 61, 6, 1, 1, 1, 1, 1, 1),
}
"""Bytes of a frame by its type, its header among them. Source: RFC 4867, section 5.3."""

AC3_KBPS = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640)
AC3_SYNC = b"\x0b\x77"
AC3_HEADER = 6


def split_amr(source: Source) -> list[bytes]:
    """Return the AMR files that are joined in one. Raises `InvalidMedia` if a frame is cut off."""
    data = source.data
    starts: list[int] = []
    position = 0
    sizes: tuple[int, ...] = ()
    frames = 0
    while position < len(data):
        frames += 1
        check_parts(source, frames)
        magic = next((m for m in AMR_BYTES if data.startswith(m, position)), None)
        if magic:
            starts.append(position)
            sizes = AMR_BYTES[magic]
            position += len(magic)
        else:
            position += sizes[data[position] >> 3 & 15]
    if position > len(data):
        raise cut_off(source, position - len(data))
    return [data[start:end] for start, end in zip(starts, [*starts[1:], len(data)], strict=True)]


def whole_ac3(source: Source) -> bytes:
    """Return the frames of an AC-3 or E-AC-3 file. Raises `InvalidMedia` if some are cut off or damaged.

    Source: ATSC A/52:2018, sections 5.3 and 5.4.1, and E.2.3.1.3 (E-AC-3).
    """
    data = source.data
    position = frames = 0
    while data.startswith(AC3_SYNC, position) and position + AC3_HEADER <= len(data):
        frames += 1
        check_parts(source, frames)
        position += max(_ac3_bytes(data[position : position + AC3_HEADER]), AC3_HEADER)
    if position > len(data):
        raise cut_off(source, position - len(data))
    if AC3_SYNC in data[position:]:
        raise source.invalid(f"is damaged or cut off at byte {position:,}")
    return data[:position]


def is_eac3(header: bytes) -> bool:
    """Return whether a frame is E-AC-3, by its bit stream identification (E.2.1.6)."""
    return header[5] >> 3 > 10


def _ac3_bytes(header: bytes) -> int:
    if is_eac3(header):
        return 2 * (((header[2] & 7) << 8 | header[3]) + 1)
    rate, code = header[4] >> 6, header[4] & 63
    kbps = AC3_KBPS[min(code >> 1, len(AC3_KBPS) - 1)]
    if rate == 1:  # 44.1 kHz, whose odd codes pad by a word
        return 2 * (kbps * 96_000 // 44_100 + (code & 1))
    return 4 * kbps if rate == 0 else 6 * kbps

"""Wave files: RIFF, RF64 and BW64, and whether their samples are all there.

Sources: Multimedia Programming Interface and Data Specifications 1.0, chapter 3; EBU Tech 3306
(RF64) and ITU-R BS.2088 (BW64), which keep 64-bit sizes in a chunk of their own, `ds64`.
"""

import struct

from connectors.media.completeness import COUNTED_TOO_MUCH, check_parts, cut_off
from connectors.media.source import Source

OPEN_64 = 1 << 62
"""From here on a 64-bit size means that it is not known."""

MOST_CHUNKS = 1_000
"""Chunks that may follow samples of size 0."""


def is_open(size: int) -> bool:
    """Return whether a 32-bit size of samples stands for "to the end of the file".

    Writers that cannot go back leave 0, or the largest size they know, often less the header.
    """
    return size == 0 or 0x7FFF0000 <= size <= 0x80000000 or 0xFFFF0000 <= size <= 0xFFFFFFFF


def whole_wav(source: Source) -> bytes:
    """Return the file as RIFF with the true size of its samples. Raises `InvalidMedia` if some are missing.

    The bytes are returned as they are where libsndfile reads them so.
    """
    data = source.data
    wide = _wide_size(data)
    position = 12
    for number in range(len(data)):
        check_parts(source, number)
        if position + 8 > len(data):
            break
        kind, size = struct.unpack_from("<4sI", data, position)
        position += 8
        if kind == b"data":
            there = len(data) - position
            told = wide if wide is not None and size == 0xFFFFFFFF else size
            if told == 0 and _only_chunks(data, position):
                raise source.invalid("holds no sound: its samples take 0 bytes")
            unknown = told >= OPEN_64 or is_open(told)
            if not unknown and told > there + COUNTED_TOO_MUCH:
                raise cut_off(source, told - there)
            if told == 0 or (unknown and wide is not None) or data[:4] == b"BW64":
                return _as_riff(data, position, there if unknown else min(told, there))
            return data
        position += size + size % 2
    raise source.invalid("is cut off: it has no samples")


def _wide_size(data: bytes) -> int | None:
    """Size of the samples by `ds64`, which is the first chunk of RF64 and BW64."""
    if data[:4] == b"RIFF" or data[12:16] != b"ds64" or len(data) < 36:
        return None
    return int.from_bytes(data[28:36], "little")


def _only_chunks(data: bytes, position: int) -> bool:
    """Return whether what follows is whole chunks to the end, or nothing: then there are no samples."""
    for _ in range(MOST_CHUNKS):
        if position + 8 > len(data) or not data[position : position + 4].isalnum():
            break
        size = int.from_bytes(data[position + 4 : position + 8], "little")
        position += 8 + size + size % 2
    return position in (len(data), len(data) + 1)


def _as_riff(data: bytes, position: int, size: int) -> bytes:
    """A copy with 32-bit sizes of what there is, and `ds64`, if any, marked as padding."""
    riff = bytearray(data)
    struct.pack_into("<4sI", riff, 0, b"RIFF", len(data) - 8)
    struct.pack_into("<I", riff, position - 4, size)
    if riff[12:16] == b"ds64":
        riff[12:16] = b"JUNK"
    return bytes(riff)

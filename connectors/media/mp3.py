"""MPEG audio (mp3, mp2): where its frames lie, and whether one file follows another.

Sources: ISO/IEC 11172-3, section 2.4.1.3 and 13818-3 (frames); Xing's and LAME's header in the first
frame, which counts the frames and bytes of one file.
"""

import re
from functools import cache

from connectors.media.completeness import check_parts, cut_off
from connectors.media.source import Source
from connectors.media.tags import sound_start, tag_bytes

KBPS = {
    (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""Bit rates by version (1, or 2 and 2.5) and layer, for the indices from 1 on."""

HERTZ = (44_100, 48_000, 32_000)
SYNC = re.compile(rb"\xff[\xe2-\xe7\xf2-\xff][\x10-\xef]")
XING = re.compile(rb"Xing|Info")
XING_REACH = 512
"""Bytes from the start of a frame in which its Xing header lies."""

FEWEST_FRAMES = 3
"""Frames that make another file. Headers may err by one or two about their own."""


def has_xing(data: bytes) -> bool:
    """Return whether the first frame, behind any ID3 tags, counts the frames of the file."""
    start = sound_start(data)
    return XING.search(data, start, start + XING_REACH) is not None


def is_chained(source: Source) -> bool:
    """Return whether frames follow those that the Xing header of the first frame counts."""
    data = source.data
    start = sound_start(data)
    found = XING.search(data, start, start + XING_REACH)
    if found is None:
        return False
    fields = found.end()
    flags = data[fields + 3 : fields + 4]
    if not flags or not flags[0] & 1:
        return False
    counted = int.from_bytes(data[fields + 4 : fields + 8], "big")
    if flags[0] & 2:
        end = start + int.from_bytes(data[fields + 8 : fields + 12], "big")
        rest = sum(count for _, _, count in _runs(source, end)) if end < len(data) else 0
    else:
        rest = sum(count for _, _, count in _runs(source, start)) - counted - 1
    return rest >= FEWEST_FRAMES


def only_frames(source: Source) -> bytes:
    """Return the file without the tags and other bytes between and behind its frames.

    Raises `InvalidMedia` if the last frame is cut off. A file whose frames do not tell their size
    (free format) is returned as it is.
    """
    data = source.data
    runs = _runs(source, sound_start(data))
    if not runs:
        return data
    end = runs[-1][1]
    if end > len(data):
        raise cut_off(source, end - len(data))
    if len(runs) == 1 and end == len(data):
        return data
    return b"".join([data[: runs[0][0]], *(data[begin:stop] for begin, stop, _ in runs)])


def _runs(source: Source, position: int) -> list[tuple[int, int, int]]:
    """Return each row of frames: where it begins, where it ends, and how many there are.

    A row begins at two frames on end, behind a tag or any other bytes.
    """
    data = source.data
    runs: list[tuple[int, int, int]] = []
    steps = 0
    while position < len(data):
        steps += 1
        check_parts(source, steps)
        if tag := tag_bytes(data, position):
            position += tag
            continue
        found = SYNC.search(data, position)
        if found is None:
            break
        start = position = found.start()
        count = 0
        while size := _frame_bytes(data[position : position + 3]):
            position += size
            count += 1
        steps += count
        if count > 1 or (count and position >= len(data)):
            runs.append((start, position, count))
        else:
            position = start + 1
    return runs


@cache
def _frame_bytes(header: bytes) -> int:
    """Return the length of a frame by the first three bytes of its header, or 0 if it is none."""
    if len(header) < 3 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return 0
    version, layer = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3)
    rate_index, hertz_index = header[2] >> 4, header[2] >> 2 & 3
    if version == 1 or layer == 4 or rate_index in (0, 15) or hertz_index == 3:
        return 0
    kbps = KBPS[1 if version == 3 else 2, layer][rate_index - 1]
    hertz = HERTZ[hertz_index] // {3: 1, 2: 2, 0: 4}[version]
    padding = header[2] >> 1 & 1
    if layer == 1:
        return (12_000 * kbps // hertz + padding) * 4
    samples = 576 if layer == 3 and version != 3 else 1152
    return samples // 8 * 1000 * kbps // hertz + padding

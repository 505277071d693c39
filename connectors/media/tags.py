"""Tags around a sound: ID3 before it; ID3v1, APE and Lyrics3 tags and padding behind it.

Players write them to streams of any format, so readers that know one format alone are given the
sound without them.
"""

import re

ID3V1_BYTES = 128
LONGEST_LYRICS = 1_000_000
MOST_TAGS = 100
"""Tags in a row that are looked past. Players write one or two."""

PADDING = re.compile(rb"\0*")


def sound_start(data: bytes) -> int:
    """Return where the sound begins: behind any ID3v2 tags and their padding.

    Source: ID3 tag version 2.4.0 - Main Structure, sections 3.1 and 3.4.
    """
    position = 0
    for _ in range(MOST_TAGS):
        if data[position : position + 3] != b"ID3" or position + 10 > len(data):
            break
        padding = PADDING.match(data, position + tag_bytes(data, position))
        position = padding.end() if padding else len(data)
    return position


def tag_bytes(data: bytes, position: int) -> int:
    """Return the length of the tag at `position`, or 0 if none begins there.

    Sources: ID3 2.4.0; ID3v1; APEv2 (its size leaves out the header).
    """
    head = data[position : position + 32]
    if head[:3] == b"ID3" and len(head) >= 10:
        size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
        return 10 + size + (10 if head[5] & 0x10 else 0)
    if head[:3] == b"TAG":
        return ID3V1_BYTES
    if head[:8] == b"APETAGEX" and len(head) == 32:
        return 32 + int.from_bytes(head[12:16], "little")
    return 0


def sound_end(data: bytes) -> int:
    """Return where the sound ends: before any tags behind it. Source: also Lyrics3 v1 and v2."""
    end = len(data)
    for _ in range(MOST_TAGS):
        begin = end
        if data[max(end - ID3V1_BYTES, 0) : end].startswith(b"TAG"):
            begin = end - ID3V1_BYTES
        elif data[max(end - 32, 0) : end].startswith(b"APETAGEX"):
            size = int.from_bytes(data[end - 20 : end - 16], "little")
            begin = end - size - (32 if data[end - 9] & 0x80 else 0)
        elif data[max(end - 9, 0) : end] in (b"LYRICS200", b"LYRICSEND"):
            begin = data.rfind(b"LYRICSBEGIN", max(end - LONGEST_LYRICS, 0), end)
        if not 0 <= begin < end:
            break
        end = begin
    return end

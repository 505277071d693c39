"""Ogg: pages, and the links of a chain. Source: RFC 3533.

Ogg files may be joined end to end. Each link is a complete file of its own, which may have another
rate, other channels or another codec. libsndfile reads the first link alone and FFmpeg stops at one
that differs; so links are told apart here, to be read one by one.
"""

import struct
from dataclasses import dataclass, field

from connectors.media.completeness import check_parts, cut_off
from connectors.media.source import Source

FIRST_PAGE, LAST_PAGE = 2, 4
"""Flags of a page's header type (section 6)."""

LATE = 255 * 5_760
"""The latest end, in samples, of a first page of sound: 255 packets of 120 ms of Opus. A stream whose
first page ends later was joined under way."""


@dataclass(slots=True)
class Link:
    """One complete Ogg file in the file, and what its pages told so far."""

    start: int
    end: int
    begun: bool = False
    first_granule: int = 0
    unfinished: dict[int, bool] = field(default_factory=dict)
    """Streams without their last page, by serial number, and whether their last packet is whole."""

    @property
    def is_partial(self) -> bool:
        """Return whether it was joined or left under way, as a live stream is."""
        return bool(self.unfinished) or self.first_granule > LATE


def split_ogg(source: Source) -> list[Link]:
    """Return the links of the file, without tags, padding or other bytes between or around them.

    Raises `InvalidMedia` if pages are missing or damaged. A file without its last page is cut off,
    unless it was captured from a live stream: those have none. Within a chain the next link ends
    the one before.
    """
    data = source.data
    links: list[Link] = []
    position = pages = 0
    while position < len(data):
        if data[position : position + 4] != b"OggS":
            if links and links[-1].unfinished:
                raise source.invalid(f"is damaged or cut off at byte {position:,}")
            position = data.find(b"OggS", position)
            if position < 0:
                break
        pages += 1
        check_parts(source, pages)
        position = _read_page(source, links, position)
    if not links:
        raise source.invalid("is damaged: it has no Ogg pages")
    is_live = any(link.first_granule > LATE for link in links)
    if (links[-1].unfinished and not is_live) or not all(all(link.unfinished.values()) for link in links):
        raise source.invalid("is cut off: its last Ogg page is missing")
    return links


def _read_page(source: Source, links: list[Link], position: int) -> int:
    """Note what the page at `position` tells of its link. Return where it ends."""
    data = source.data
    segments = data[position + 26] if position + 27 <= len(data) else 0
    lacing = data[position + 27 : position + 27 + segments]
    end = position + 27 + segments + sum(lacing)
    if end > len(data):
        raise cut_off(source, end - len(data))
    flags, granule, serial = struct.unpack_from("<BqI", data, position + 5)
    if not links or (flags & FIRST_PAGE and links[-1].begun):
        links.append(Link(position, end))
    link = links[-1]
    link.end = end
    if not flags & FIRST_PAGE:
        link.begun = True
    if link.first_granule == 0:
        link.first_granule = max(granule, 0)
    if flags & LAST_PAGE:
        link.unfinished.pop(serial, None)
    else:
        link.unfinished[serial] = not lacing.endswith(b"\xff")
    return end

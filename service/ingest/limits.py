"""The limits of archives.

Holds `ArchiveLimits`. It checks an archive's own directory before anything is unpacked, and the bytes that
come out while it is unpacked.
"""

from dataclasses import dataclass

from service.errors import RequestTooLarge
from service.settings import MIB

HARMLESS = 64 * MIB
"""Bytes that any archive may unpack to, however small it is: silence compresses well."""


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """The most an archive may hold: entries, bytes when unpacked, and those as a multiple of its own size."""

    entries: int
    bytes: int
    ratio: float

    def check_entries(self, entries: int) -> None:
        """Raise `RequestTooLarge` for too many entries."""
        if entries > self.entries:
            raise RequestTooLarge(
                f"the archive has more than {self.entries:,} entries (ISTHMUS_ARCHIVE_ENTRIES); split it",
                "archive",
            )

    def check_bytes(self, unpacked: int, packed: int) -> None:
        """Raise `RequestTooLarge` where `packed` bytes unpack to too many."""
        if unpacked > self.bytes:
            raise RequestTooLarge(
                f"the archive unpacks to more than {self.bytes:,} bytes (ISTHMUS_ARCHIVE_BYTES); split it",
                "archive",
            )
        if unpacked > HARMLESS and unpacked > self.ratio * packed:
            raise RequestTooLarge(
                f"the archive unpacks to more than {self.ratio:g} times its size (ISTHMUS_ARCHIVE_RATIO)",
                "archive",
            )

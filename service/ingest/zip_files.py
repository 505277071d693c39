"""The files of a zip archive, read in place."""

import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from lzma import LZMAError
from pathlib import Path

from connectors.errors import InvalidMedia, UnsupportedMedia
from service.errors import InvalidRequest, NotFound
from service.ingest.files import check_entry_name, check_not_archive, check_size, is_hidden
from service.ingest.limits import ArchiveLimits

ENTRY_BYTES = 1024
"""Most bytes of the directory that an entry may take, on average."""

_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR_BYTES = 20
_LONGEST_COMMENT = 65535
_DAMAGE = (zipfile.BadZipFile, zlib.error, LZMAError, EOFError, OSError, ValueError, struct.error)


class ZipFiles:
    """`service.ingest.files.Files` of a zip archive.

    Raises `InvalidRequest` where it is damaged and `RequestTooLarge` where it passes a limit; a directory
    that is too large is not even read.
    """

    def __init__(self, path: Path, limits: ArchiveLimits) -> None:
        limits.check_entries(_directory_bytes(path) // ENTRY_BYTES)
        try:
            self._zip = zipfile.ZipFile(path)
        except (*_DAMAGE, NotImplementedError) as error:
            raise InvalidRequest(f"the archive is damaged or cut short: {error}", "archive") from error
        try:
            entries = self._zip.infolist()
            limits.check_entries(len(entries))
            limits.check_bytes(sum(each.file_size for each in entries), path.stat().st_size)
        except BaseException:
            self.close()
            raise

    def names(self) -> Iterator[str]:
        """Yield every file's name, in the order of the archive's directory."""
        seen: set[str] = set()
        for entry in self._zip.infolist():
            if not entry.is_dir() and not is_hidden(entry.filename) and entry.filename not in seen:
                seen.add(entry.filename)
                yield entry.filename

    def read(self, name: str, max_bytes: int) -> bytes:
        """Return a file's bytes; see `Files`."""
        check_entry_name(name)
        try:
            entry = self._zip.getinfo(name)
        except KeyError:
            raise NotFound(f"{name} is not in the archive") from None
        if entry.is_dir() or stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG):
            raise InvalidMedia(f"{name} is a link, a folder or a device, not a file; it was not followed")
        check_not_archive(name)
        if entry.flag_bits & 1:
            raise UnsupportedMedia(f"{name} is encrypted")
        check_size(name, entry.file_size, max_bytes)
        try:
            with self._zip.open(entry) as file:
                data = file.read(max_bytes + 1)
        except (NotImplementedError, RuntimeError) as error:
            raise UnsupportedMedia(f"{name} is packed in a way that is not read: {error}") from error
        except _DAMAGE as error:
            raise InvalidMedia(f"{name} is damaged in the archive: {error}") from error
        check_size(name, len(data), max_bytes)
        return data

    def close(self) -> None:
        """Close the archive. Idempotent."""
        self._zip.close()


def _directory_bytes(path: Path) -> int:
    """Return the size of the directory at the archive's end, found as `zipfile` does; 0 if there is none."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        start = max(0, size - _LONGEST_COMMENT - _END.size - _LOCATOR_BYTES - _END64.size)
        file.seek(start)
        tail = file.read()
    end = len(tail) - _END.size
    if end < 0 or not (tail.startswith(b"PK\x05\x06", end) and tail.endswith(b"\0\0")):
        end = tail.rfind(b"PK\x05\x06", max(0, len(tail) - _LONGEST_COMMENT - _END.size))
    if end < 0 or len(tail) - end < _END.size:
        return 0
    directory = int(_END.unpack_from(tail, end)[5])
    end64 = end - _LOCATOR_BYTES - _END64.size
    if end64 >= 0 and tail.startswith(b"PK\x06\x06", end64):
        directory = max(directory, int(_END64.unpack_from(tail, end64)[8]))
    return directory

"""The files of a tar archive, read in place."""

import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from connectors.errors import InvalidMedia
from service.errors import InvalidRequest, NotFound
from service.ingest.files import check_entry_name, check_not_archive, check_size, is_hidden
from service.ingest.limits import ArchiveLimits

HEADER_BYTES = 1024 * 1024
"""Largest header that is read; it holds names, comments and the like."""


@dataclass(frozen=True, slots=True)
class _Member:
    start: int
    size: int
    is_file: bool


class TarFiles:
    """`service.ingest.files.Files` of a tar archive that is not compressed.

    Raises `InvalidRequest` where it is damaged and `RequestTooLarge` where it passes a limit.
    """

    def __init__(self, path: Path, limits: ArchiveLimits) -> None:
        self._entries: dict[str, _Member] = {}
        self._file = path.open("rb")
        try:
            self._list(limits, path.stat().st_size)
        except (tarfile.TarError, EOFError, OSError, ValueError, OverflowError, RecursionError) as error:
            self.close()
            raise InvalidRequest(f"the archive is damaged or cut short: {error}", "archive") from error
        except BaseException:
            self.close()
            raise

    def names(self) -> Iterator[str]:
        """Return every file's name, in the archive's order."""
        return iter([name for name in self._entries if not is_hidden(name)])

    def read(self, name: str, max_bytes: int) -> bytes:
        """Return a file's bytes; see `Files`."""
        check_entry_name(name)
        if (entry := self._entries.get(name)) is None:
            raise NotFound(f"{name} is not in the archive")
        if not entry.is_file:
            raise InvalidMedia(f"{name} is a link or a device, not a file; it was not followed")
        check_not_archive(name)
        check_size(name, entry.size, max_bytes)
        self._file.seek(entry.start)
        data = self._file.read(entry.size)
        if len(data) != entry.size:
            raise InvalidMedia(f"{name} is cut short in the archive")
        return data

    def close(self) -> None:
        """Close the archive. Idempotent."""
        self._file.close()

    def _list(self, limits: ArchiveLimits, packed: int) -> None:
        unpacked, reached, count = 0, -1, 0
        with tarfile.open(fileobj=_Headers(self._file), mode="r:") as archive:
            while (member := archive.next()) is not None:
                count += 1
                unpacked += max(0, member.size)
                limits.check_entries(count)
                limits.check_bytes(unpacked, packed)
                if member.offset <= reached or member.size < 0:
                    raise tarfile.ReadError("an entry begins before the one in front of it ends")
                reached = member.offset
                if not member.isdir():
                    name = member.name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
                    is_file = member.isreg() and not member.issparse()
                    self._entries[name] = _Member(member.offset_data, member.size, is_file)
            self._file.seek(archive.offset)
            if self._file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise tarfile.ReadError("what follows its last entry is not an archive's end")


class _Headers(io.BufferedIOBase):
    """A tar file to list: its contents are seeked over, and too large a header is an error."""

    def __init__(self, file: io.BufferedReader) -> None:
        self._file = file

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= HEADER_BYTES:
            raise tarfile.ReadError(f"a header has more than {HEADER_BYTES:,} bytes")
        return self._file.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

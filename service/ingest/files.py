"""The files a manifest's lines name: in a folder under an allowed root, in an archive, or none at all.

Holds the protocol `Files`, `FolderFiles`, `NoFiles`, and the rules for names that hold everywhere. They
return the bytes of a name; a fault of one file is an `IsthmusError` and does not concern the others.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Protocol

from connectors.errors import InvalidMedia, MediaTooLarge, UnsupportedMedia
from service.errors import InvalidRequest, NotFound

ARCHIVES = frozenset({".zip", ".tar", ".gz", ".tgz", ".bz2", ".tbz2", ".xz", ".txz", ".7z", ".rar", ".zst"})
"""Suffixes of archives; an archive among the files ingested is not opened."""


class Files(Protocol):
    """Files by name. Used by one thread at a time."""

    def names(self) -> Iterator[str]:
        """Return every file's name, always in the same order; hidden ones are left out."""

    def read(self, name: str, max_bytes: int) -> bytes:
        """Return a file's bytes. Raises an `IsthmusError` naming it where it cannot or must not be read."""

    def close(self) -> None:
        """Close what is open. Idempotent."""


class NoFiles:
    """No files: the manifest was sent by itself and no folder may be read here."""

    def names(self) -> Iterator[str]:
        """Return no name."""
        return iter(())

    def read(self, name: str, max_bytes: int) -> bytes:
        """Raise `InvalidRequest`."""
        raise InvalidRequest(f"{name}: files of this machine may be named where ISTHMUS_INGEST_ROOTS is set")

    def close(self) -> None:
        """Do nothing."""


class FolderFiles:
    """Files of this machine, named relative to `folder`, none of them outside `root`.

    A link is followed where it stays inside `root`. The target of a path is checked again after the file was
    opened: changing the link in between gains nothing.
    """

    def __init__(self, folder: Path, root: Path) -> None:
        self._folder = folder
        self._root = Path(os.path.realpath(root))

    def names(self) -> Iterator[str]:
        """Yield every file under the folder, by path; links to folders are not followed."""
        for place, folders, files in os.walk(self._folder):
            linked = [name for name in folders if Path(place, name).is_symlink()]
            folders[:] = sorted(name for name in folders if name not in linked and not is_hidden(name))
            for name in sorted(files + linked):
                if not is_hidden(name):
                    relative = Path(place, name).relative_to(self._folder).as_posix()
                    yield os.fsencode(relative).decode("utf-8", "replace")

    def read(self, name: str, max_bytes: int) -> bytes:
        """Return a file's bytes; see `Files`."""
        check_not_archive(name)
        try:
            path = self._inside(name, os.path.realpath(self._folder / name))
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        except (OSError, ValueError) as error:
            raise _unreadable(name, error) from error
        try:
            self._inside(name, str(Path(f"/proc/self/fd/{descriptor}").readlink()))
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise InvalidMedia(f"{name} is a folder or a device, not a file")
            check_size(name, found.st_size, max_bytes)
            with open(descriptor, "rb", closefd=False) as file:
                data = file.read(max_bytes + 1)
        finally:
            os.close(descriptor)
        check_size(name, len(data), max_bytes)
        return data

    def close(self) -> None:
        """Do nothing: a file is open only while it is read."""

    def _inside(self, name: str, real: str) -> Path:
        path = Path(real)
        if not path.is_relative_to(self._root):
            raise InvalidRequest(f"{name} leads out of the folders that may be ingested; it was not read")
        return path


def allowed_path(path: str, roots: tuple[Path, ...], param: str) -> tuple[Path, Path]:
    """Return a path of this machine that a job names, links resolved, and the root it is under.

    A relative one is under the first root that has it. Raises `InvalidRequest` for one outside every root
    (whether it exists or not), `NotFound` for one inside that does not exist.
    """
    if not roots:
        raise InvalidRequest(
            "paths of the service's machine are ingested only under ISTHMUS_INGEST_ROOTS, which is not set",
            param,
        )
    known = False
    for root in (Path(os.path.realpath(each)) for each in roots):
        with suppress(ValueError, OSError):  # a NUL in it, or a name too long: no such path exists
            real = Path(os.path.realpath(root / path))
            if real.is_relative_to(root):
                known = True
                if real.exists():
                    return real, root
    if known:
        raise NotFound(f"there is no {path[:200]!r} under the folders that may be ingested", param)
    raise InvalidRequest(
        f"{path[:200]!r} is outside the folders that may be ingested (ISTHMUS_INGEST_ROOTS)", param
    )


def check_entry_name(name: str) -> None:
    """Raise `InvalidMedia` for an archive entry's name that leads out of the archive."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if not parts or parts[0] == "/" or ".." in parts or ":" in parts[0] or "\0" in name:
        raise InvalidMedia(f"{name[:200]!r} is a name that leads out of the archive; it was not read")


def check_not_archive(name: str) -> None:
    """Raise `UnsupportedMedia` for an archive among the files."""
    if PurePosixPath(name).suffix.lower() in ARCHIVES:
        raise UnsupportedMedia(f"{name} is an archive; archives among the files are not opened")


def check_size(name: str, size: int, max_bytes: int) -> None:
    """Raise `MediaTooLarge` for a file over the limit."""
    if size > max_bytes:
        raise MediaTooLarge(
            f"{name} has {size:,} bytes or more; the limit is {max_bytes:,} (ISTHMUS_MAX_ITEM_BYTES)"
        )


def is_hidden(name: str) -> bool:
    """Return whether a path is one that file managers hide or keep for themselves."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    return any((part.startswith(".") and part != "..") or part == "__MACOSX" for part in parts)


def _unreadable(name: str, error: Exception) -> NotFound:
    if "\N{REPLACEMENT CHARACTER}" in name:
        return NotFound(f"{name} has a name that is not UTF-8; rename it")
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return NotFound(f"{name} cannot be read: {reason}")

"""Named files in a folder or, through fsspec, in an object store; the media store is built on them."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from connectors.errors import ConfigError
from service.durable import sync_folder, write_file

COPIES_BYTES = 1024 * 1024 * 1024
"""Bytes of fetched files that a machine keeps; more only where they are in use."""
COPY_SECONDS = 600.0
"""Seconds after its last request for which a copy may be in use."""


class Blobs(Protocol):
    """Named files; names are relative, with slashes. Raises `OSError` or the like where the storage fails."""

    def write(self, name: str, data: bytes) -> None:
        """Keep a file: whole and durable on return, or not at all."""

    def read(self, name: str) -> bytes | None:
        """Return a file's bytes, None where there is none."""

    def age(self, name: str) -> float | None:
        """Return the seconds since a file was written, None where there is none."""

    def touch(self, name: str) -> bool:
        """Mark a file as written now; return False where there is none."""

    def delete(self, name: str) -> bool:
        """Delete a file; False where there is none."""

    def names(self, prefix: str) -> Iterator[str]:
        """Yield every file under a prefix."""

    def path(self, name: str) -> Path | None:
        """Return a file's path on this machine, fetched if need be; None where there is none."""


class FolderBlobs:
    """Files in a local folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def write(self, name: str, data: bytes) -> None:
        """Keep a file: written beside its place, synced, renamed, and the rename synced."""
        target = self.folder / name
        if not target.parent.is_dir():
            target.parent.mkdir(parents=True, exist_ok=True)
            sync_folder(target.parent.parent)
        write_file(target, data, several_writers=True)

    def read(self, name: str) -> bytes | None:
        """Return a file's bytes, None where there is none."""
        try:
            return (self.folder / name).read_bytes()
        except FileNotFoundError:
            return None

    def age(self, name: str) -> float | None:
        """Return the seconds since a file was written, None where there is none."""
        try:
            return time.time() - (self.folder / name).stat().st_mtime
        except FileNotFoundError:
            return None

    def touch(self, name: str) -> bool:
        """Mark a file as written now; return False where there is none."""
        try:
            os.utime(self.folder / name)
        except FileNotFoundError:
            return False
        return True

    def delete(self, name: str) -> bool:
        """Delete a file; False where there is none."""
        try:
            (self.folder / name).unlink()
        except FileNotFoundError:
            return False
        return True

    def names(self, prefix: str) -> Iterator[str]:
        """Yield every file under a prefix, those that a killed writer left behind included."""
        for folder, _, files in os.walk(self.folder / prefix):
            for file in sorted(files):
                yield (Path(folder) / file).relative_to(self.folder).as_posix()

    def path(self, name: str) -> Path | None:
        """Return a file's path; None where there is none."""
        path = self.folder / name
        return path if path.is_file() else None


class RemoteBlobs:
    """Files wherever fsspec reaches, such as `s3://bucket/prefix`.

    `options` are the file system's own (key, secret, endpoint_url, ...); `local` keeps, in a folder of its
    own, `COPIES_BYTES` of fetched files for callers that need a path on this machine. Raises `ConfigError`
    where the URL's protocol is unknown or its package is not installed.
    """

    def __init__(self, url: str, local: FolderBlobs, options: dict[str, Any] | None = None) -> None:
        self._local = local
        self._copies = FolderBlobs(local.folder / "copies")
        self._lock = threading.Lock()
        self._fetched = COPIES_BYTES  # by former processes, at worst
        try:
            import fsspec

            self._files, root = fsspec.core.url_to_fs(url, use_listings_cache=False, **(options or {}))
        except (ImportError, ValueError) as error:
            raise ConfigError(
                f"media cannot be kept at {url}: {error}; for S3 install the extra: pip install 'isthmus[s3]'"
            ) from error
        self._root = root.rstrip("/")

    def write(self, name: str, data: bytes) -> None:
        """Keep a file; object stores put it whole or not at all."""
        path = self._path(name)
        try:
            self._files.pipe_file(path, data)
        except FileNotFoundError:
            # Only now: object stores have no folders, and asking for one takes as long as writing.
            self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
            self._files.pipe_file(path, data)

    def read(self, name: str) -> bytes | None:
        """Return a file's bytes, None where there is none."""
        try:
            return bytes(self._files.cat_file(self._path(name)))
        except FileNotFoundError:
            return None

    def age(self, name: str) -> float | None:
        """Return the seconds since a file was written, None where there is none."""
        try:
            return time.time() - float(self._files.modified(self._path(name)).timestamp())
        except FileNotFoundError:
            return None

    def touch(self, name: str) -> bool:
        """Mark a file as written now: an object is written again for that."""
        data = self.read(name)
        if data is not None:
            self.write(name, data)
        return data is not None

    def delete(self, name: str) -> bool:
        """Delete a file and this machine's copies; False where there is none."""
        self._local.delete(name)
        with self._lock:
            self._copies.delete(name)
        path = self._path(name)
        if not self._files.exists(path):  # S3 reports success for an object that is not there
            return False
        with suppress(FileNotFoundError):  # another service's deletion came between
            self._files.rm_file(path)
        return True

    def names(self, prefix: str) -> Iterator[str]:
        """Yield every file under a prefix."""
        for path in sorted(self._files.find(self._path(prefix))):
            yield path[len(self._root) + 1 :]

    def path(self, name: str) -> Path | None:
        """Return the path of this machine's copy of a file, fetched if need be; None where there is none."""
        if (kept := self._local.path(name) or self._kept(name)) is not None:
            return kept
        if (data := self.read(name)) is not None:
            self._copies.write(name, data)
            self._make_room(len(data))
        return self._copies.path(name)

    def _kept(self, name: str) -> Path | None:
        """Return the path of a copy that is there already, marked as requested now."""
        with self._lock:
            if (path := self._copies.path(name)) is not None:
                os.utime(path, (time.time(), path.stat().st_mtime))
            return path

    def _make_room(self, fetched: int) -> None:
        """Delete the least recently requested copies; only now and then, as more is fetched."""
        with self._lock:
            self._fetched += fetched
            if self._fetched < COPIES_BYTES // 16:
                return
            self._fetched = 0
        copies = []
        for name in self._copies.names(""):
            with suppress(FileNotFoundError):
                status = (self._copies.folder / name).stat()
                copies.append((status.st_atime, status.st_size, name))
        kept = 0
        for _, size, name in sorted(copies, reverse=True):
            kept += size
            if kept > COPIES_BYTES:
                with self._lock, suppress(FileNotFoundError):
                    if (self._copies.folder / name).stat().st_atime < time.time() - COPY_SECONDS:
                        self._copies.delete(name)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

"""The original files of stored points, kept by the sha256 of their bytes: the same file twice is kept once.

Bytes are stored under a key; a file is on the disk, whole, before its key is returned, so whatever the index
names is there after any crash. A file is deleted with the last point that names it; `collect` deletes those
that a crash left over.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Set
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Self

from service.concurrency.fair_lock import FairLock
from service.errors import MediaStoreUnavailable, NotFound, ServiceError
from service.media.blobs import Blobs, FolderBlobs, RemoteBlobs

PAGE = 256
"""Points looked at in one call to the index."""

_KEY = re.compile(r"[0-9a-f]{64}")

Used = Callable[[Set[str]], Set[str]]
"""Some keys -> those of them that points name."""

WRITERS = 8
"""Files of one addition written at once."""
WRITING_SECONDS = 3600.0
"""Age in seconds from which a half-written file has no writer any more."""


class MediaStore:
    """Files by the sha256 of their bytes, and thumbnails of them. Thread-safe.

    Every method raises `MediaStoreUnavailable` where the storage fails.
    """

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._lock = FairLock()
        self._held: Counter[str] = Counter()
        self._backups = 0

    @classmethod
    def open(cls, folder: Path, url: str | None = None, options: dict[str, Any] | None = None) -> Self:
        """Open the store in a local folder, or at a URL (`s3://bucket/prefix`) with copies in `folder`.

        Raises `ConfigError` where the URL's protocol is unknown or its package is missing.
        """
        local = FolderBlobs(folder)
        return cls(RemoteBlobs(url, local, options) if url else local)

    @contextmanager
    def adding(self) -> Iterator["MediaAddition"]:
        """Keep files and write the points that name them, in one block: no file is deleted meanwhile."""
        addition = MediaAddition(self)
        try:
            yield addition
        finally:
            addition.close()
            with self._lock:
                self._held -= addition.keys

    @contextmanager
    def nothing_deleted(self) -> Iterator[None]:
        """Keep all files while this block runs; those deleted meanwhile are left to `collect`."""
        with self._lock:
            self._backups += 1
        try:
            yield
        finally:
            with self._lock:
                self._backups -= 1

    def path(self, key: str) -> Path:
        """Return the path of a key's file on this machine. Raises `NotFound`."""
        with _failing("read"):
            path = self._blobs.path(_file(key)) if _KEY.fullmatch(key) else None
        if path is None:
            raise _gone(key)
        return path

    def read(self, key: str) -> bytes:
        """Return the bytes of a key. Raises `NotFound`."""
        with _failing("read"):
            data = self._blobs.read(_file(key)) if _KEY.fullmatch(key) else None
        if data is None:
            raise _gone(key)
        return data

    def thumbnail(self, key: str, size: int) -> bytes | None:
        """Return the picture that `keep_thumbnail` kept, None where there is none."""
        with _failing("read"):
            return self._blobs.read(f"{_thumbnails(key)}{size}") if _KEY.fullmatch(key) else None

    def keep_thumbnail(self, key: str, size: int, picture: bytes) -> None:
        """Keep a picture made of a file, as long as the file is there."""
        with _failing("written"), self._lock:
            if self._blobs.age(_file(key)) is not None:
                self._blobs.write(f"{_thumbnails(key)}{size}", picture)

    def delete(self, key: str, used: Used) -> bool:
        """Delete a file and its thumbnails; return False where a point names it, or is about to."""
        return self.delete_all([key], used) == 1

    def delete_all(self, keys: Iterable[str], used: Used, *, older_than: float = 0.0) -> int:
        """Delete files as `delete` does, `PAGE` of them per call to the index; return how many were deleted.

        Files younger than `older_than` seconds are left.
        """
        deleted, left = 0, iter(keys)
        while page := list(islice(left, PAGE)):
            with _failing("deleted"), self._lock:
                if self._backups:
                    break
                free = {key for key in page if _KEY.fullmatch(key) and not self._held[key]}
                for key in sorted(free - used(free)):
                    if not older_than or (self._blobs.age(_file(key)) or 0.0) >= older_than:
                        deleted += self._delete(key)
        return deleted

    def _delete(self, key: str) -> bool:
        for name in list(self._blobs.names(_thumbnails(key))):
            self._blobs.delete(name)
        return self._blobs.delete(_file(key))

    def collect(self, used: Used, *, older_than: float = WRITING_SECONDS) -> int:
        """Delete the files that no point names and return their number; delete leftovers of killed writers.

        Files younger than `older_than` seconds are left: another process may be about to write their points.
        Pass 0 where there is no other.
        """
        removed = 0
        with _failing("collected"):
            names = self._blobs.names("files")
            while page := list(islice(names, PAGE)):
                keys = {key for name in page if (key := _key(name))}
                removed += self.delete_all(keys - used(keys), used, older_than=older_than)
                self._sweep(name for name in page if not _key(name))
            thumbnails = self._blobs.names("thumbnails")
            self._sweep(name for name in thumbnails if not name.rpartition("/")[2].isdecimal())
        return removed

    def _sweep(self, half_written: Iterable[str]) -> None:
        for name in half_written:
            if (self._blobs.age(name) or 0.0) >= WRITING_SECONDS:
                self._blobs.delete(name)

    def __iter__(self) -> Iterator[str]:
        """Yield the key of every file kept."""
        with _failing("listed"):
            for name in self._blobs.names("files"):
                if key := _key(name):
                    yield key

    def _put(self, key: str, data: bytes) -> None:
        with self._lock:
            self._held[key] += 1
        with _failing("written"):
            if not self._blobs.touch(_file(key)):
                self._blobs.write(_file(key), data)


class MediaAddition:
    """The files that one block of `MediaStore.adding` has kept so far."""

    def __init__(self, store: MediaStore) -> None:
        self._store = store
        self._writers = ThreadPoolExecutor(WRITERS, thread_name_prefix="media")
        self._writing: list[Future[None]] = []
        self.keys: Counter[str] = Counter()

    def put(self, data: bytes) -> str:
        """Keep bytes and return their key. They survive a power cut when this returns."""
        key = hashlib.sha256(data).hexdigest()
        self.keys[key] += 1
        self._store._put(key, data)
        return key

    def put_soon(self, data: bytes, sha256: str | None = None) -> str:
        """Begin a `put` that is done when `wait` returns: a disk syncs many files nearly as fast as one.

        `sha256` is that of the bytes, where it is known.
        """
        key = sha256 or hashlib.sha256(data).hexdigest()
        self.keys[key] += 1
        self._writing.append(self._writers.submit(self._store._put, key, data))
        return key

    def wait(self) -> None:
        """Wait for every `put_soon`. Raises `MediaStoreUnavailable` where one failed."""
        while self._writing:
            self._writing.pop().result()

    def close(self) -> None:
        """Wait for the writers to end. Idempotent."""
        self._writers.shutdown()


@contextmanager
def _failing(verb: str) -> Iterator[None]:
    """Raise the storage's errors as `MediaStoreUnavailable`."""
    try:
        yield
    except ServiceError:
        raise
    except Exception as error:
        raise MediaStoreUnavailable(f"media cannot be {verb}: {error}") from error


def _gone(key: str) -> NotFound:
    return NotFound(f"the media {key[:64]} is not there any more", "id")


def _key(name: str) -> str | None:
    """Return the key of a file; None for one that is half written."""
    last = name.rpartition("/")[2]
    return last if _KEY.fullmatch(last) else None


def _file(key: str) -> str:
    return f"files/{key[:2]}/{key}"


def _thumbnails(key: str) -> str:
    return f"thumbnails/{key[:2]}/{key}/"

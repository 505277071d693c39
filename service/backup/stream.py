"""A backup as one stream: written by a running service as it is made, unpacked by the client.

The stream is a tar file of what `service.backup.directory` describes, its manifest last: a stream that broke
off has none, and is no backup.
"""

import hashlib
import io
import tarfile
import tempfile
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import Any

from connectors.errors import IntegrityError
from connectors.staged_directory import staged_directory
from service.backup.directory import (
    MANIFEST,
    PARTS,
    check_backup,
    copy_data,
    files_in,
    manifest_bytes,
    media_name,
)
from service.durable import sync_tree
from service.index.backend import IndexBackend
from service.media.store import MediaStore

CHUNK = 1024 * 1024
"""Bytes sent at once."""


def stream_backup(
    backend: IndexBackend, media: MediaStore, connectors: Path, scratch: Path
) -> Generator[bytes, None, None]:
    """Yield a backup of all collections, media and connectors as chunks of a tar; reads and writes go on.

    All but the media is copied under the folder `scratch` before the first chunk. Close the generator when it
    is not read to its end. Raises `ConfigError` as `write_backup` does.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="backup-", dir=scratch) as folder, media.nothing_deleted():
        copied = Path(folder)
        collections = copy_data(backend, connectors, copied)
        files: dict[str, dict[str, Any]] = {}
        for path in files_in(copied):
            name = path.relative_to(copied).as_posix()
            files[name] = yield from _member(name, path.stat().st_size, _chunks(path))
        for key in media:
            data = media.read(key)
            files[media_name(key)] = yield from _member(media_name(key), len(data), [data])
        manifest = manifest_bytes(collections, files)
        yield from _member(MANIFEST, len(manifest), [manifest])
        yield bytes(2 * tarfile.BLOCKSIZE)


def receive_backup(chunks: Iterable[bytes], target: Path) -> dict[str, Any]:
    """Unpack a streamed backup to the new directory `target` and check it; return the manifest.

    Raises `IntegrityError` or `MissingFiles` where the stream is no whole backup; no `target` is made then.
    """
    with staged_directory(target) as staging:
        try:
            with tarfile.open(fileobj=io.BufferedReader(_ChunkReader(chunks)), mode="r|") as archive:
                for member in archive:
                    _unpack(archive, member, staging)
        except tarfile.TarError as error:
            raise IntegrityError(f"the backup broke off or was changed on its way: {error}") from error
        if not (staging / MANIFEST).exists():
            raise IntegrityError(f"the backup broke off on its way: its {MANIFEST} did not come")
        manifest = check_backup(staging)
        sync_tree(staging)
    return manifest


def _member(name: str, size: int, chunks: Iterable[bytes]) -> Generator[bytes, None, dict[str, Any]]:
    """Yield one file of the tar; the generator's result is its entry in the manifest."""
    header = tarfile.TarInfo(name)
    header.size, header.mode = size, 0o644
    yield header.tobuf(tarfile.GNU_FORMAT)
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
        yield chunk
    yield bytes(-size % tarfile.BLOCKSIZE)
    return {"bytes": size, "sha256": digest.hexdigest()}


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk


def _unpack(archive: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    parts = Path(member.name).parts
    if (
        not member.isreg()
        or not parts
        or ".." in parts
        or (member.name != MANIFEST and parts[0] not in PARTS)
    ):
        raise IntegrityError(f"{member.name} does not belong in a backup")
    content = archive.extractfile(member)
    assert content is not None  # every regular file has some
    place = folder / member.name
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("wb") as file:
        while chunk := content.read(CHUNK):
            file.write(chunk)


class _ChunkReader(io.RawIOBase):
    """A readable file over chunks of bytes."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left:
            try:
                self._left = memoryview(next(self._chunks))
            except StopIteration:
                return 0
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count

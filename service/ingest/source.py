"""The source of an ingest job: its manifest and the files that the manifest names.

Holds `IngestSource`. A folder or an archive without a manifest gets one, written before the first item is
read: the job then goes through the same items in the same order however often it is interrupted.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from service.errors import InvalidRequest
from service.ingest.archive import open_archive
from service.ingest.files import Files, FolderFiles, NoFiles, allowed_path
from service.ingest.inputs import ARCHIVE, INFLATED, MANIFEST, SourceKind
from service.ingest.limits import ArchiveLimits
from service.ingest.manifest import Item, Position, count_items, read_items, write_paths
from service.settings import Settings

LOOKED_AT = 100
"""Lines at the start of a manifest of which at least one must be an item."""


class IngestSource:
    """A job's items; `folder` is its input's. For one thread at a time; close it when done.

    `path` is a folder, an archive or a manifest on this machine, None for an upload. Raises `InvalidRequest`,
    `NotFound`, `UnsupportedMedia` or `RequestTooLarge` for a source that cannot be ingested.
    """

    def __init__(self, kind: SourceKind, path: str | None, folder: Path, settings: Settings) -> None:
        self._kind = kind
        self._manifest = folder / MANIFEST
        self._max_bytes = settings.max_item_bytes
        self._max_manifest_bytes = settings.max_archive_bytes
        roots = settings.ingest_roots
        place = root = None
        if path is not None:
            place, root = allowed_path(path, roots, kind)
            if place.is_dir() != (kind == "folder"):
                found = "folder" if place.is_dir() else "file"
                raise InvalidRequest(f"{path} is no {kind}, but a {found}", kind)
        self._place = place
        self._files: Files
        if kind == "archive":
            self._files = open_archive(place or folder / ARCHIVE, _limits(settings), folder / INFLATED)
        elif place is not None and root is not None:
            self._files = FolderFiles(place if kind == "folder" else place.parent, root)
        else:
            self._files = FolderFiles(roots[0], roots[0]) if roots else NoFiles()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the archive. Idempotent."""
        self._files.close()

    def check(self) -> None:
        """Raise `InvalidRequest` where there is nothing to ingest, as far as a quick look can tell."""
        if self._kind == "archive" and next(self._files.names(), None) is None:
            raise InvalidRequest("the archive holds no files", "archive")
        if self._kind == "manifest":
            self._take_manifest()
            first: Item | None = None
            for item, _ in zip(read_items(self._manifest, Position()), range(LOOKED_AT), strict=False):
                if not isinstance(item.line, InvalidRequest):
                    return
                first = first or item
            reason = first.line.message if first and isinstance(first.line, InvalidRequest) else "it is empty"
            raise InvalidRequest(f"this is no manifest of JSON lines: {reason}", "manifest")

    def prepare(self) -> int:
        """Write the manifest, unless there is one; return the number of items."""
        if self._kind == "manifest":
            self._take_manifest()
        elif not self._manifest.exists():
            staging = self._manifest.with_name(f".{MANIFEST}")
            names = self._files.names()
            if self._kind == "archive" and MANIFEST in set(self._files.names()):
                staging.write_bytes(self._files.read(MANIFEST, self._max_manifest_bytes))
            else:
                write_paths(names, staging)
            staging.replace(self._manifest)
        return count_items(self._manifest)

    def items(self, start: Position) -> Iterator[Item]:
        """Return the items from a position."""
        return read_items(self._manifest, start)

    def read(self, path: str) -> bytes:
        """Return the bytes of a file that a line names. Raises an `IsthmusError` where it cannot be read."""
        return self._files.read(path, self._max_bytes)

    def _take_manifest(self) -> None:
        """Copy a manifest of this machine once: it may change while the job runs."""
        if self._place is not None and not self._manifest.exists():
            staging = self._manifest.with_name(f".{MANIFEST}")
            shutil.copyfile(self._place, staging)
            staging.replace(self._manifest)


def _limits(settings: Settings) -> ArchiveLimits:
    return ArchiveLimits(settings.archive_entries, settings.archive_bytes, settings.archive_ratio)

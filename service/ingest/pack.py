"""Packing of a folder or a manifest of this machine into archives that a service elsewhere can ingest.

Holds `pack`, which yields tar files of a bounded size, each with a manifest of its own, and the items that
could not be read. Files are numbered in them and named in the manifest, so that no name is too odd for a tar.
"""

import io
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from connectors.errors import IsthmusError
from service.errors import InvalidRequest
from service.ingest.files import Files, FolderFiles
from service.ingest.inputs import MANIFEST
from service.ingest.manifest import Item, ManifestLine, Position, read_items
from service.jobs.record import Fault
from service.settings import MIB

PART_BYTES = 256 * MIB
"""Bytes that make one archive full."""
PART_ITEMS = 10_000
"""Items that make one archive full."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One archive, open until the next is asked for: its number of items, and the items' faults."""

    archive: IO[bytes]
    items: int
    faults: list[Fault]


def items_of(path: Path) -> tuple[Iterable[Item], Files]:
    """Return the items of a folder, or of the manifest at `path`, and the files they name."""
    if path.is_dir():
        files = FolderFiles(path, path)
        return (Item(name, ManifestLine(path=name), Position()) for name in files.names()), files
    return read_items(path, Position()), FolderFiles(path.parent, Path("/"))


def pack(
    items: Iterable[Item], files: Files, max_item_bytes: int, part_bytes: int = PART_BYTES
) -> Iterator[Part]:
    """Yield archives of the items; the last may hold none, only faults of items that could not be read."""
    waiting = iter(items)
    while True:
        with tempfile.TemporaryFile() as file:
            part = _pack_part(waiting, files, max_item_bytes, part_bytes, file)
            if not (part.items or part.faults):
                return
            yield part


def _pack_part(
    items: Iterator[Item], files: Files, max_item_bytes: int, part_bytes: int, file: IO[bytes]
) -> Part:
    lines: list[bytes] = []
    size = 0
    faults: list[Fault] = []
    with tarfile.open(fileobj=file, mode="w") as archive:
        while (
            len(lines) + len(faults) < PART_ITEMS
            and file.tell() + size < part_bytes
            and (item := next(items, None)) is not None
        ):
            try:
                line = _pack_item(item, f"files/{len(lines)}", files, max_item_bytes, archive)
            except IsthmusError as error:
                faults.append(Fault.of(item.name, error))
            else:
                lines.append(line.model_dump_json(exclude_none=True).encode())
                size += len(lines[-1])
        _add(archive, MANIFEST, b"\n".join(lines))
    file.seek(0)
    return Part(file, len(lines), faults)


def _pack_item(
    item: Item, name: str, files: Files, max_item_bytes: int, archive: tarfile.TarFile
) -> ManifestLine:
    """Add an item's file to the archive and return its line. Raises what reading the file does."""
    if isinstance(item.line, InvalidRequest):
        raise item.line
    if item.line.path is None:
        return item.line
    _add(archive, name, files.read(item.line.path, max_item_bytes))
    return item.line.model_copy(update={"path": name, "name": item.name})


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))

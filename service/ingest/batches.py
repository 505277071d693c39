"""The items of a job, read and put together into batches to embed at once.

Holds `Batches`, which turns a source's items into `Loaded` ones, each with its bytes and its final id.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from connectors.errors import IsthmusError
from service.engine.media_input import MediaInput
from service.entry import Entry
from service.errors import InvalidRequest
from service.ingest.manifest import Item, ManifestLine, Place
from service.ingest.source import Source
from service.jobs.record import Fault
from service.settings import MIB

BATCH_BYTES = 32 * MIB
"""Bytes that make a batch full; one item more may be in it."""

Key = tuple[str, str]
"""Collection and id of a point."""


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """One item in memory: the point it becomes, its bytes' hash, and what messages call it."""

    name: str
    key: Key
    entry: Entry
    sha256: str


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Items to embed at once, no two of them the same point; `faults` are those that could not be read.

    `after` is the place behind the last of them.
    """

    items: list[Loaded]
    faults: list[Fault]
    after: Place

    @property
    def keys(self) -> set[Key]:
        """The points it makes."""
        return {each.key for each in self.items}


class Batches:
    """The batches of a source's items from a place on. For one thread at a time."""

    def __init__(
        self,
        source: Source,
        start: Place,
        *,
        max_items: int,
        collection: str,
        metadata: Mapping[str, Any],
    ) -> None:
        self._source = source
        self._items: Iterator[Item] = source.items(start)
        self._max_items = max_items
        self._collection = collection
        self._metadata = metadata
        self._waiting: tuple[Loaded, Place] | None = None

    def next(self) -> Batch | None:
        """Read the next batch; None at the end."""
        items: list[Loaded] = []
        faults: list[Fault] = []
        after: Place | None = None
        size = 0
        if self._waiting is not None:
            (first, after), self._waiting = self._waiting, None
            items.append(first)
        while len(items) + len(faults) < self._max_items and size < BATCH_BYTES:
            if (item := next(self._items, None)) is None:
                break
            try:
                loaded = self._load(item)
            except IsthmusError as error:
                faults.append(Fault.of(item.name, error))
            else:
                if any(loaded.key == each.key for each in items):
                    self._waiting = loaded, item.after
                    break
                items.append(loaded)
                size += _size(loaded)
            after = item.after
        return None if after is None else Batch(items, faults, after)

    def _load(self, item: Item) -> Loaded:
        """An item with its bytes. Raises the `IsthmusError` that says why it cannot be had."""
        if isinstance(item.line, InvalidRequest):
            raise item.line
        line: ManifestLine = item.line
        if line.path is None:
            media = replace(MediaInput.text(line.text or "", item.name), filename=line.name)
        else:
            data = self._source.read(line.path)
            shown = line.name or line.path
            media = MediaInput(data, len(data), shown, None, line.modality, shown)
        sha256 = hashlib.sha256(media.read()).hexdigest()
        point_id = line.id or sha256
        entry = Entry(media, point_id, {**self._metadata, **(line.metadata or {})})
        return Loaded(item.name, (line.collection or self._collection, point_id), entry, sha256)


def _size(loaded: Loaded) -> int:
    return loaded.entry.item.size if isinstance(loaded.entry.item, MediaInput) else 0

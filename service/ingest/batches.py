"""The items of a job, read and grouped into batches to embed together.

Holds `Batches`, which turns a source's items into `Loaded` ones, each with its bytes and its final id.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from connectors.errors import IsthmusError
from service.engine.media_input import MediaInput
from service.errors import InvalidRequest
from service.ingest.manifest import Item, ManifestLine, Position
from service.ingest.source import IngestSource
from service.jobs.record import Fault
from service.pipeline import EmbedInput
from service.settings import MIB

BATCH_BYTES = 32 * MIB
"""Bytes that make a batch full; one item more may be in it."""

Key = tuple[str, str]
"""Collection and id of a point."""


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """One item in memory: its name in messages, the point it becomes, and its media."""

    name: str
    key: Key
    input: EmbedInput
    media: MediaInput


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Items to embed together, no two of them the same point; `faults` are those that could not be read.

    `after` is the position behind the last of them.
    """

    items: list[Loaded]
    faults: list[Fault]
    after: Position

    @property
    def keys(self) -> set[Key]:
        """The keys of its points."""
        return {each.key for each in self.items}


class Batches:
    """The batches of a source's items from a position. For one thread at a time."""

    def __init__(
        self,
        source: IngestSource,
        start: Position,
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
        self._waiting: tuple[Loaded, Position] | None = None

    def next(self) -> Batch | None:
        """Read the next batch; None at the end."""
        items: list[Loaded] = []
        faults: list[Fault] = []
        after: Position | None = None
        size = 0
        if self._waiting is not None:
            (first, after), self._waiting = self._waiting, None
            items.append(first)
            size = first.media.size
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
                size += loaded.media.size
            after = item.after
        return None if after is None else Batch(items, faults, after)

    def _load(self, item: Item) -> Loaded:
        """Return an item with its bytes. Raises an `IsthmusError` where it cannot be read."""
        if isinstance(item.line, InvalidRequest):
            raise item.line
        line: ManifestLine = item.line
        if line.path is None:
            media = MediaInput.text(line.text or "", item.name, line.name)
        else:
            data = self._source.read(line.path)
            shown = line.name or line.path
            media = MediaInput(data, len(data), shown, None, line.modality, shown)
        point_id = line.id or media.sha256()
        metadata = None  # what is there already keeps its own
        if self._metadata or line.metadata is not None:
            metadata = {**self._metadata, **(line.metadata or {})}
        embed_input = EmbedInput(media, point_id, metadata)
        return Loaded(item.name, (line.collection or self._collection, point_id), embed_input, media)

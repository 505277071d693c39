"""The index backend: keeps generations of records and answers queries on one of them.

A *generation* is one physical collection of records, made for one connector version; a collection reads one
generation at a time and is switched to another in one step. `service.index.vector_index` builds the `Index`
of `service.index.protocol` on this, the same for every backend.
"""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from qdrant_client import models

from service.index.protocol import Layout, Vector
from service.index.records import Record
from service.schemas.fields import FieldType

DEFAULT_FIELDS: Mapping[str, FieldType] = {
    "modality": "keyword",
    "mime": "keyword",
    "sha256": "keyword",
    "media": "keyword",
    "created": "datetime",
}
"""Payload fields every generation indexes."""

SEARCH_EF = 128
"""Candidates a search of a graph keeps, at least."""

ACORN_SELECTIVITY = 0.2
"""Share of points below which a filter of several conditions is searched by ACORN.

Each indexed field's values have links among themselves, but not the points that several conditions leave:
without ACORN the recall of one in forty, by two fields, was 0.84, of one in eight 0.96, of one in four 0.99.
"""

BATCH = 256
"""Records in one call: a few milliseconds of work, so that other callers wait no longer."""


def never() -> bool:
    """Return False: nothing is given up."""
    return False


@dataclass(frozen=True)
class Generation:
    """One physical collection: its name, what it was made for and the payload fields it indexes."""

    name: str
    layout: Layout
    fields: Mapping[str, FieldType]


@dataclass(frozen=True)
class Usage:
    """The number of a generation's records that are indexed, and the bytes it takes where that is known."""

    indexed: int
    optimizing: bool
    bytes_on_disk: int | None


@dataclass(frozen=True)
class VectorStorage:
    """The storage of unified vectors: an int8 copy to search in, and the originals on disk or in memory."""

    quantize: bool = True
    on_disk: bool = False


@dataclass(frozen=True, eq=False)
class Query:
    """A vector [dim], to search with once under each of several filters.

    `limit` holds for each answer; `threshold` is the least cosine. With `ids_only` the records' payloads hold
    nothing but their points' ids.
    """

    vector: Vector
    filters: tuple[models.Filter | None, ...]
    limit: int
    threshold: float | None = None
    ids_only: bool = False


class IndexBackend(Protocol):
    """Generations of records. Thread-safe; every failure is `IndexUnavailable`.

    `create`, `switch`, `drop`, `declare`, `upsert`, `delete` and `set_payload` are durable on return.
    """

    def current(self) -> Mapping[str, Generation]:
        """Return every collection and the generation it reads."""

    def generations(self, collection: str) -> list[Generation]:
        """Return every generation made for a collection, the oldest first."""

    def create(self, collection: str, layout: Layout, fields: Mapping[str, FieldType]) -> Generation:
        """Make an empty generation that nothing reads yet."""

    def switch(self, reads: Mapping[str, str | None]) -> None:
        """Let collections read other generations, all in one step; None removes the collection."""

    def drop(self, name: str) -> None:
        """Delete a generation."""

    def declare(self, name: str, key: str, kind: FieldType) -> None:
        """Index one more payload field."""

    def upsert(self, name: str, records: Sequence[Record]) -> None:
        """Write up to `BATCH` records, replacing those with the same id."""

    def retrieve(self, name: str, uuids: Sequence[str], with_vectors: bool) -> list[Record]:
        """Return the records that exist, in any order."""

    def delete(self, name: str, uuids: Sequence[str]) -> None:
        """Delete records; those that do not exist are skipped."""

    def set_payload(self, name: str, uuids: Sequence[str], payload: Mapping[str, Any]) -> None:
        """Replace the named top-level fields of records."""

    def scroll(
        self, name: str, where: models.Filter | None, limit: int, offset: str | None, with_vectors: bool
    ) -> tuple[list[Record], str | None]:
        """Return a page of records by ascending id, from `offset`, and the next page's offset."""

    def query(self, name: str, query: Query, with_vectors: bool, exact: bool) -> list[list[Record]]:
        """Return for each of the query's filters the nearest records by cosine, best first, `score` set.

        Equal vectors have equal scores; records of equal scores come in any order.
        """

    def count(self, name: str, where: models.Filter | None) -> int:
        """Return the exact number of records that match."""

    def facet(
        self, name: str, key: str, where: models.Filter | None, limit: int
    ) -> list[tuple[str | int | bool, int]]:
        """Return the values of an indexed field and their counts, the most frequent first.

        Equal counts are in the order of their values, and are cut in it.
        """

    def usage(self, name: str) -> Usage:
        """Return how many records are indexed, and the bytes they take."""

    def finish_indexing(self, name: str, given_up: Callable[[], bool] = never) -> bool:
        """Index a generation's records now, as far as the backend would by itself; return True when done.

        Return False soon after `given_up` returned True: the backend does the rest by itself.
        """

    def unload(self, name: str) -> None:
        """Free the memory of a generation that is hardly used any more."""

    def ping(self) -> None:
        """Return if the backend answers; else raise `IndexUnavailable`."""

    def close(self) -> None:
        """Close files, processes and connections. Idempotent."""


def combines(where: models.Filter | None) -> bool:
    """Return whether a filter is more than one condition on one field."""
    if where is None:
        return False
    clauses = (where.must, where.should, where.must_not)
    conditions = [each for clause in clauses if isinstance(clause, list) for each in clause]
    if where.min_should is not None:
        conditions += where.min_should.conditions
    return len(conditions) != 1 or not isinstance(conditions[0], models.FieldCondition)


def generation_name(collection: str) -> str:
    """Return a new name for a generation of a collection; `collection_of` reads it back."""
    return f"isthmus@{collection}@{uuid.uuid4().hex[:12]}"


def collection_of(name: str) -> str | None:
    """Return the collection a generation's name was made for; None for a name that is not ours."""
    parts = name.split("@")
    return parts[1] if len(parts) == 3 and parts[0] == "isthmus" else None

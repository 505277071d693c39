"""The index the service uses: collections of points over any backend.

It checks its input, turns callers' ids and filters into Qdrant's, knows which generation a collection reads
and for which connector it was made, and returns points as they were written. One class for every backend, so
that all of them behave alike.
"""

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Self, TypeVar

from connectors.errors import ConfigError
from connectors.modality import Modality
from service.concurrency.fair_lock import FairLock
from service.errors import CollectionConflict, IndexUnavailable, InvalidFilter
from service.index.backend import BATCH, DEFAULT_FIELDS, Generation, IndexBackend, Query
from service.index.field_paths import check_field
from service.index.field_values import check_values, misfits
from service.index.filters import parse_filter, with_modality
from service.index.identity import check_cursor, check_name, point_uuid
from service.index.payload import (
    check_payload,
    check_point,
    check_query,
    read_point,
    stored_payload,
    stored_vectors,
)
from service.index.protocol import (
    CollectionInfo,
    CollectionStats,
    Filter,
    Hit,
    Layout,
    Point,
    StoredPoint,
    Vector,
)
from service.index.records import Record
from service.index.ties import query_with_ties
from service.schemas.fields import FieldType

_Item = TypeVar("_Item")

MAX_PAGE = 10_000
"""Points in one page or one answer, offset included."""


class VectorIndex:
    """`service.index.protocol.Index` over an `IndexBackend`, which it owns."""

    def __init__(self, backend: IndexBackend, layout: Layout) -> None:
        self.backend = backend
        self.layout = layout
        self.creating = threading.Lock()
        """Held while collections are made and deleted."""
        self.written: dict[str, dict[str, None]] = {}
        """The Qdrant ids of the records written lately, by collection, for those whose writes are noted."""
        self._writing: defaultdict[str, FairLock] = defaultdict(FairLock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close files, processes and connections. Idempotent."""
        self.backend.close()

    def healthy(self) -> bool:
        """Return whether the backend answers now. Never raises."""
        try:
            self.backend.ping()
        except Exception:
            return False
        return True

    # Collections

    def create(self, collection: str, dim: int) -> bool:
        """Create an empty collection for unified vectors of `dim`; False if it is there already."""
        check_name(collection)
        if dim != self.layout.dim:
            raise ConfigError(f"this index holds unified vectors of {self.layout.dim} numbers, not {dim}")
        with self.creating:
            if found := self._find(collection):
                if (found.layout.dim, dict(found.layout.natives)) != (dim, dict(self.layout.natives)):
                    raise CollectionConflict(
                        f"collection {collection} was made for another bundle: unified vectors of "
                        f"{found.layout.dim} and native ones of {dict(found.layout.natives)}"
                    )
                return False
            made = self.backend.create(collection, self.layout, DEFAULT_FIELDS)
            self.backend.switch({collection: made.name})
            return True

    def drop(self, collection: str) -> bool:
        """Delete a collection and all its points; False if there is none."""
        with self.creating, self.writing(collection):
            if self._find(collection) is None:
                return False
            self.backend.switch({collection: None})
            for generation in self.backend.generations(collection):
                self.backend.drop(generation.name)
            return True

    def names(self) -> list[str]:
        """Return the name of every collection, in order."""
        return sorted(self.backend.current())

    def has(self, collection: str) -> bool:
        """Return whether there is such a collection."""
        return self._find(collection) is not None

    def collections(self) -> list[CollectionInfo]:
        """Return every collection with its number of points, by name."""

        def info(name: str, found: Generation) -> CollectionInfo:
            return CollectionInfo(name, found.layout.dim, self.backend.count(found.name, None))

        found = [self._ask(name, partial(info, name)) for name in self.names()]
        return [each for each in found if each is not None]

    def stats(self, collection: str) -> CollectionStats | None:
        """Return a collection's size and state; None if there is none."""

        def stats(found: Generation) -> CollectionStats:
            count, usage = self.backend.count(found.name, None), self.backend.usage(found.name)
            return CollectionStats(
                name=collection,
                connector=found.layout.connector,
                dim=found.layout.dim,
                count=count,
                indexed=min(count, usage.indexed),
                optimizing=usage.optimizing,
                bytes_on_disk=usage.bytes_on_disk,
                fields=dict(found.fields),
            )

        return self._ask(collection, stats)

    def fields(self, collection: str) -> Mapping[str, FieldType]:
        """Return the payload fields with an index, and what they hold; none where there is no collection."""
        found = self._find(collection)
        return found.fields if found else {}

    def declare_field(self, collection: str, key: str, kind: FieldType) -> bool:
        """Index a payload field, for present and future points; filters on it get fast.

        Return False where it was declared so already.
        """
        check_field(key)
        self.create(collection, self.layout.dim)
        with self.writing(collection):
            if (found := self._find(collection)) is None or found.fields.get(key) == kind:
                return False
            self.backend.declare(found.name, key, kind)
            return True

    def count_unfit(self, collection: str, fields: Mapping[str, FieldType]) -> dict[str, int]:
        """Count for each field the points that hold a value of another type; reads every payload."""
        counts: Counter[str] = Counter()
        cursor: str | None = None
        while fields:
            points, cursor = self.scroll(collection, BATCH, cursor)
            for point in points:
                counts.update(misfits(point.payload, fields))
            if cursor is None:
                break
        return dict(counts)

    # Points

    def upsert(self, collection: str, points: Sequence[Point], connector: str | None = None) -> None:
        """Write points, replacing those with the same id. They survive a `kill -9` when this returns."""
        layout = self.layout
        _check_connector(collection, layout, connector)
        for point in points:
            check_point(point, layout)
        self.create(collection, self.layout.dim)
        latest = {point.id: point for point in points}
        uuids = {point_id: point_uuid(collection, point_id) for point_id in latest}
        with self.writing(collection):
            found = self._find(collection)
            if found is None:
                raise CollectionConflict(f"collection {collection} was deleted while this was written to it")
            _check_connector(collection, found.layout, connector or layout.connector)
            for batch in _batches(list(latest.values())):
                records = [
                    Record(uuids[each.id], stored_payload(each), stored_vectors(each)) for each in batch
                ]
                with self._noting(collection, [each.uuid for each in records]):
                    self.backend.upsert(found.name, records)

    def get(self, collection: str, ids: Sequence[str], with_vectors: bool = False) -> list[StoredPoint]:
        """Return the points with these ids that exist, in the order asked for."""

        def points_by_id(found: Generation) -> dict[str, StoredPoint]:
            points: dict[str, StoredPoint] = {}
            for batch in _batches(list(dict.fromkeys(ids))):
                uuids = [point_uuid(collection, each) for each in batch]
                for record in self.backend.retrieve(found.name, uuids, with_vectors):
                    points[record.payload["id"]] = read_point(record.payload, record.vectors)
            return points

        points = self._ask(collection, points_by_id) or {}
        return [points[each] for each in ids if each in points]

    def delete(self, collection: str, ids: Sequence[str]) -> list[str]:
        """Delete points; return the ids that were there. Durable when this returns."""
        with self.writing(collection):
            there = [point.id for point in self.get(collection, list(dict.fromkeys(ids)))]
            found = self._find(collection)
            for batch in _batches(there):
                assert found is not None
                uuids = [point_uuid(collection, each) for each in batch]
                with self._noting(collection, uuids):
                    self.backend.delete(found.name, uuids)
            return there

    def set_payload(self, collection: str, point_id: str, payload: Mapping[str, Any]) -> bool:
        """Replace the named top-level fields of one point's payload; False if there is no such point.

        Raises `InvalidRequest` for a value that is not of its field's declared type.
        """
        check_payload(payload, f"point {point_id!r}")
        with self.writing(collection):
            found = self._find(collection)
            if found is None or not self.get(collection, [point_id]):
                return False
            check_values(payload, found.fields, f"point {point_id!r}")
            change = {**payload, "revision": time.time_ns()}
            uuids = [point_uuid(collection, point_id)]
            with self._noting(collection, uuids):
                self.backend.set_payload(found.name, uuids, change)
            return True

    def scroll(
        self,
        collection: str,
        limit: int = 100,
        cursor: str | None = None,
        modality: Modality | None = None,
        where: Filter | None = None,
        with_vectors: bool = False,
    ) -> tuple[list[StoredPoint], str | None]:
        """Return one page of points in a stable order, and the cursor of the next page (None at the end)."""
        offset = check_cursor(cursor)
        parsed = with_modality(parse_filter(where, collection), modality)
        _check_page(limit, 0)
        answer = self._ask(
            collection, lambda found: self.backend.scroll(found.name, parsed, limit, offset, with_vectors)
        )
        records, following = answer or ([], None)
        return [read_point(each.payload, each.vectors) for each in records], following

    def search(
        self,
        collection: str,
        vector: Vector,
        limit: int,
        offset: int = 0,
        modality: Modality | None = None,
        where: Filter | None = None,
        score_threshold: float | None = None,
        with_vectors: bool = False,
        exact: bool = False,
        connector: str | None = None,
    ) -> list[Hit]:
        """Return the nearest points by cosine of unified vectors, best first. See `Index.search`."""
        parsed = parse_filter(where, collection)
        _check_page(limit, offset)
        query = Query(vector, (with_modality(parsed, modality),), limit + offset, score_threshold)
        [hits] = self._query(collection, query, with_vectors, exact, connector)
        return hits[offset:]

    def search_each(
        self,
        collection: str,
        vector: Vector,
        limit: int,
        modalities: Sequence[Modality],
        where: Filter | None = None,
        with_vectors: bool = False,
        exact: bool = False,
        connector: str | None = None,
    ) -> list[list[Hit]]:
        """Return for each modality its nearest points, as `search` does; most often by one message."""
        parsed = parse_filter(where, collection)
        _check_page(limit, 0)
        query = Query(vector, tuple(with_modality(parsed, each) for each in modalities), limit)
        return self._query(collection, query, with_vectors, exact, connector)

    def _query(
        self, collection: str, query: Query, with_vectors: bool, exact: bool, connector: str | None
    ) -> list[list[Hit]]:
        _check_connector(collection, self.layout, connector)
        check_query(query.vector, self.layout)

        def answers(found: Generation) -> list[list[Record]]:
            _check_connector(collection, found.layout, connector)
            return query_with_ties(self.backend, found.name, query, with_vectors, exact, MAX_PAGE)

        return [
            [Hit(read_point(each.payload, each.vectors), each.score) for each in records]
            for records in self._ask(collection, answers) or [[] for _ in query.filters]
        ]

    def count(self, collection: str, modality: Modality | None = None, where: Filter | None = None) -> int:
        """Return the exact number of points that match."""
        parsed = with_modality(parse_filter(where, collection), modality)
        return self._ask(collection, lambda found: self.backend.count(found.name, parsed)) or 0

    def facets(
        self, collection: str, key: str, limit: int = 10, where: Filter | None = None
    ) -> list[tuple[str | int | bool, int]]:
        """Return an indexed payload field's values and how many points hold each. See `Index.facets`."""
        check_field(key)
        parsed = parse_filter(where, collection)
        _check_page(limit, 0)

        def values(found: Generation) -> list[tuple[str | int | bool, int]]:
            facetable = sorted(
                name for name, kind in found.fields.items() if kind in ("keyword", "integer", "bool")
            )
            if key not in facetable:
                raise InvalidFilter(
                    f"collection {collection} cannot be faceted on {key!r}, only on {', '.join(facetable)}; "
                    "declare it as a keyword, integer or bool field first"
                )
            return self.backend.facet(found.name, key, parsed, limit)

        return [hit for hit in self._ask(collection, values) or () if hit[1]]

    def writing(self, collection: str) -> FairLock:
        """Return the lock that one collection's writes take in turn."""
        return self._writing[collection]

    @contextmanager
    def _noting(self, collection: str, uuids: Sequence[str]) -> Iterator[None]:
        """Note the records written in this block, even if it fails, for a copy that must catch up."""
        try:
            yield
        finally:
            if (noted := self.written.get(collection)) is not None:
                noted.update(dict.fromkeys(uuids))

    def _ask(self, collection: str, ask: Callable[[Generation], _Item]) -> _Item | None:
        """Return the answer of the generation that a collection reads; None where there is no collection.

        Where that one is deleted before it is asked, the next one is asked, if there is any.
        """
        while (found := self._find(collection)) is not None:
            try:
                return ask(found)
            except IndexUnavailable:
                if (now := self._find(collection)) is not None and now.name == found.name:
                    raise
        return None

    def _find(self, collection: str) -> Generation | None:
        return self.backend.current().get(collection)


def _check_connector(collection: str, layout: Layout, connector: str | None) -> None:
    if connector is not None and connector != layout.connector:
        raise CollectionConflict(
            f"collection {collection} holds vectors of connector {layout.connector}, not {connector}; "
            "project anew with the one it holds"
        )


def _check_page(limit: int, offset: int) -> None:
    if limit < 1 or offset < 0 or limit + offset > MAX_PAGE:
        raise ConfigError(f"limit is at least 1, offset at least 0 and the two at most {MAX_PAGE} together")


def _batches(items: Sequence[_Item]) -> list[Sequence[_Item]]:
    return [items[start : start + BATCH] for start in range(0, len(items), BATCH)]

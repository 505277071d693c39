"""Generations in Qdrant Edge, each shard in a child process of its own, under one folder.

    FOLDER/lock             held by the process that has the folder open
    FOLDER/catalogue.json   which generation each collection reads, and where its shard is
    FOLDER/shards/*         one folder a shard

New points are scanned until enough have come together to be worth a graph; then a copy of the shard is
optimised in a second process while the first goes on answering, catches up with what was written meanwhile,
and takes its place.
"""

import fcntl
import os
import shutil
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from qdrant_client import models

from service.errors import IndexUnavailable
from service.index.backend import (
    ACORN_SELECTIVITY,
    Generation,
    Query,
    Usage,
    VectorStorage,
    combines,
    generation_name,
    never,
)
from service.index.edge.catalogue import Catalogue
from service.index.edge.optimizer import OptimizerSettings, ShardOptimizer
from service.index.edge.shard import Shard
from service.index.edge.shard_folder import bytes_on_disk, lock_folder
from service.index.edge.shard_messages import (
    Count,
    Delete,
    Facet,
    Hold,
    JsonObject,
    Ping,
    Retrieve,
    Scroll,
    SearchEach,
    SearchFilter,
    SetPayload,
    Upsert,
)
from service.index.edge.shard_process import GraphSettings, ShardProcess
from service.index.payload import UNIFIED
from service.index.protocol import Layout
from service.index.records import Record
from service.schemas.fields import FieldType

LEFTOVER_SECONDS = 10.0
"""Time to wait, on opening, for a process of the former owner that still uses a shard nobody reads."""


class EdgeBackend:
    """`service.index.backend.IndexBackend` over Edge shards under `folder`; owns their processes.

    `storage` applies to new shards at once and to others after their next optimisation, which becomes due;
    None leaves each as it was made.
    Raises `IndexUnavailable` if another process has the folder open.
    """

    def __init__(
        self,
        folder: Path,
        *,
        storage: VectorStorage | None = None,
        graph: GraphSettings | None = None,
        optimizer: OptimizerSettings | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._storage = storage
        self._graph = graph or GraphSettings()
        self._guard = (folder / "lock").open("a")
        try:
            fcntl.flock(self._guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._guard.close()
            raise IndexUnavailable(f"the index in {folder} is in use by another process") from error
        self._lock = threading.RLock()
        self._catalogue = Catalogue(folder / "catalogue.json")
        self._current = dict(self._catalogue.current())
        self._shards: dict[str, Shard] = {}
        self._closed = False
        self._remove_leftovers()
        self._optimizer = ShardOptimizer(self._opened, self._spawn, self._replaced, optimizer)

    def close(self) -> None:
        """Close the files and end the processes. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._optimizer.close()
        with self._lock:
            for shard in self._shards.values():
                shard.close()
            self._guard.close()

    def pids(self) -> list[int]:
        """Return the ids of the processes that serve shards now; a shard has one from its first call on."""
        return [shard.pid for shard in self._opened() if shard.pid is not None]

    def ping(self) -> None:
        """Return if every open shard answers; else raise `IndexUnavailable`."""
        if self._closed:
            raise IndexUnavailable("the index is closed")
        read = {each.name for each in self._current.values()}
        for shard in self._opened():
            if shard.generation.name in read:
                shard.call(Ping())

    def current(self) -> Mapping[str, Generation]:
        """Return every collection and the generation it reads."""
        return self._current

    def generations(self, collection: str) -> list[Generation]:
        """Return every generation made for a collection, the oldest first."""
        with self._lock:
            entries = [each for each in self._catalogue.entries.values() if each.collection == collection]
        return [each.generation for each in sorted(entries, key=lambda each: each.made)]

    def create(self, collection: str, layout: Layout, fields: Mapping[str, FieldType]) -> Generation:
        """Make an empty generation that nothing reads yet."""
        generation = Generation(generation_name(collection), layout, dict(fields))
        path = self._new_folder()
        process = self._spawn(path, generation, 0)
        process.call(Hold(held=False))
        with self._lock:
            self._catalogue.add(collection, generation, path.name)
            self._shards[generation.name] = Shard(generation, process)
        return generation

    def switch(self, reads: Mapping[str, str | None]) -> None:
        """Let collections read other generations from now on, all at once; None: no such collection."""
        with self._lock:
            self._catalogue.switch(reads)
            self._current = dict(self._catalogue.current())

    def drop(self, name: str) -> None:
        """Delete a generation that no collection reads: the catalogue would name one that is gone."""
        with self._lock:
            if name in self._catalogue.reads.values():
                raise IndexUnavailable(f"generation {name} is read; let its collection read another first")
            shard = self._shard(name)
            self._catalogue.remove(name)
            del self._shards[name]
        shard.close()
        shutil.rmtree(shard.path, ignore_errors=True)

    def declare(self, name: str, key: str, kind: FieldType) -> None:
        """Index one more payload field."""
        self._shard(name).declare(key, kind)
        with self._lock:
            self._catalogue.declare(name, key, kind)
            self._current = dict(self._catalogue.current())

    def upsert(self, name: str, records: Sequence[Record]) -> None:
        """Write records, replacing those with the same id."""
        self._shard(name).write(Upsert(records))

    def retrieve(self, name: str, uuids: Sequence[str], with_vectors: bool) -> list[Record]:
        """Return the records that exist, in any order."""
        return list(self._shard(name).call(Retrieve(uuids, with_vectors)).records)

    def delete(self, name: str, uuids: Sequence[str]) -> None:
        """Delete records; those that do not exist are passed over."""
        self._shard(name).write(Delete(uuids))

    def set_payload(self, name: str, uuids: Sequence[str], payload: Mapping[str, Any]) -> None:
        """Replace the named top-level fields of records."""
        self._shard(name).write(SetPayload(uuids, payload))

    def scroll(
        self, name: str, where: models.Filter | None, limit: int, offset: str | None, with_vectors: bool
    ) -> tuple[list[Record], str | None]:
        """Return a page of records by ascending id from `offset` on, and the next page's offset."""
        page = self._shard(name).call(Scroll(_dumped(where), limit, offset, with_vectors))
        return list(page.records), page.following

    def query(self, name: str, query: Query, with_vectors: bool, exact: bool) -> list[list[Record]]:
        """Return for each of the query's filters the nearest records by cosine, best first, `score` set."""
        search = SearchEach(
            using=UNIFIED,
            vector=query.vector,
            filters=[
                SearchFilter(_dumped(where), ACORN_SELECTIVITY if combines(where) else 0.0)
                for where in query.filters
            ],
            limit=query.limit,
            threshold=query.threshold,
            ids_only=query.ids_only,
            vectors=with_vectors,
            exact=exact,
        )
        return [list(hits) for hits in self._shard(name).call(search).of_filters]

    def count(self, name: str, where: models.Filter | None) -> int:
        """Return the exact number of records that match."""
        return self._shard(name).call(Count(_dumped(where))).count

    def facet(
        self, name: str, key: str, where: models.Filter | None, limit: int
    ) -> list[tuple[str | int | bool, int]]:
        """Return the values of an indexed field and their counts, most frequent first."""
        found = self._shard(name).call(Facet(key, _dumped(where), limit))
        return [(each.value, each.count) for each in found.values]

    def usage(self, name: str) -> Usage:
        """Return how far the records are indexed, and the disk space they take."""
        shard = self._shard(name)
        return Usage(shard.indexed(), shard.optimizing.locked(), bytes_on_disk(shard.path))

    def optimize(self, name: str) -> None:
        """Optimise a generation now, and return when the optimised shard has taken over."""
        self._optimizer.run(self._shard(name))

    def unload(self, name: str) -> None:
        """End a generation's process; the next call starts another."""
        self._shard(name).unload()

    def finish_indexing(self, name: str, given_up: Callable[[], bool] = never) -> bool:
        """Optimise a generation if enough of it is not indexed; return False if that was `given_up`."""
        return self._optimizer.finish_indexing(self._shard(name), given_up)

    def copy(self, name: str, target: Path) -> None:
        """Copy a generation's shard as of one moment; reads and writes go on."""
        self._shard(name).copy(target)

    def _opened(self) -> list[Shard]:
        with self._lock:
            return list(self._shards.values())

    def _shard(self, name: str) -> Shard:
        with self._lock:
            if self._closed:
                raise IndexUnavailable("the index is closed")
            if name not in self._shards:
                if (entry := self._catalogue.entries.get(name)) is None:
                    raise IndexUnavailable(f"generation {name} was deleted meanwhile; ask again")
                process = self._spawn(self.folder / "shards" / entry.shard, entry.generation, 0)
                self._shards[name] = Shard(entry.generation, process)
            return self._shards[name]

    def _spawn(self, path: Path | None, generation: Generation, nice: int) -> ShardProcess:
        return ShardProcess(path or self._new_folder(), generation, self._storage, self._graph, nice=nice)

    def _replaced(self, shard: Shard, path: Path) -> None:
        """Enter `path`, which holds a shard's optimised copy, as the shard's folder."""
        with self._lock:
            if shard.generation.name not in self._shards:
                raise IndexUnavailable(f"generation {shard.generation.name} was deleted meanwhile")
            self._catalogue.move(shard.generation.name, path.name)

    def _new_folder(self) -> Path:
        return self.folder / "shards" / uuid.uuid4().hex

    def _remove_leftovers(self) -> None:
        """Delete the shards that a former process was making, replacing or dropping when it ended.

        They are not in the catalogue, or are entered for a collection that does not exist. A child of that
        process may still be writing; it is waited for.
        """
        for name, entry in list(self._catalogue.entries.items()):
            if entry.collection not in self._catalogue.reads:
                self._catalogue.remove(name)
        known = {entry.shard for entry in self._catalogue.entries.values()}
        for path in (self.folder / "shards").glob("*"):
            if path.name not in known:
                with suppress(TimeoutError):  # the next start will find it too
                    lock = lock_folder(path, LEFTOVER_SECONDS)
                    shutil.rmtree(path, ignore_errors=True)
                    os.close(lock)


def _dumped(where: models.Filter | None) -> JsonObject | None:
    return None if where is None else where.model_dump(mode="json", by_alias=True, exclude_none=True)

"""The child process that owns one Qdrant Edge shard: `python -m service.index.edge.shard_worker DESCRIPTOR`.

Edge holds the interpreter's lock while it works, so it works here and not in the service's threads. The
process answers `service.index.edge.shard_messages` one after another; a write is in the write-ahead log, and
the log on the disk, before it is answered. The process ends when its channel is closed.
"""

import ctypes
import json
import os
import signal
import sys
from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import Any, assert_never

import numpy as np
import qdrant_edge as edge

from service.concurrency.child_process import Channel, parent_channel
from service.concurrency.messages import Done, Failed, pack
from service.index.edge.filter_conversion import edge_filter
from service.index.edge.payload_encoding import given, stored, unmarked
from service.index.edge.selectivity import Selectivity
from service.index.edge.shard_folder import holes, lock_folder
from service.index.edge.shard_messages import (
    OPEN_REQUESTS,
    SHARD_REQUESTS,
    Count,
    Counted,
    Declare,
    Delete,
    Facet,
    FacetValue,
    FacetValues,
    Found,
    Hits,
    Hold,
    Holder,
    Info,
    Open,
    Optimize,
    Optimized,
    Page,
    Ping,
    Retrieve,
    Scroll,
    SearchEach,
    SearchFilter,
    SetPayload,
    ShardInfo,
    ShardRequest,
    Upsert,
)
from service.index.records import Record

FLUSH_IDLE_SECONDS = 2.0
"""A shard that is idle for so long is flushed, so that its next start has no log to replay."""
FLUSH_POINTS = 50_000
"""After so many writes it is flushed in any case, so that the log stays small."""
LOCK_SECONDS = 60.0
"""Time that a former owner, whose parent was killed, may take to end."""
OVERSAMPLING = 2.0
"""Hits scored again with the original vectors, as a multiple of those asked for."""
ACORN_OVERSAMPLING = 1.3
"""The same of a search by ACORN, whose candidates cost more: of ten hits a hundredth is lost without any."""
ACORN_EF, ACORN_RARE_EF, RARE = 13, 20, 0.02
"""Least number of candidates of a search by ACORN, which looks at the neighbours of neighbours, so that each
costs several times as much. The second applies where less than the share `RARE` passes: points lie further
from each other there."""
OUTDATED = "outdated"
"""A file in the folder of a shard whose segments were built with other settings than it has now."""
_PR_SET_PDEATHSIG = 1

_SCHEMAS = {
    "keyword": edge.PayloadSchemaType.Keyword,
    "integer": edge.PayloadSchemaType.Integer,
    "float": edge.PayloadSchemaType.Float,
    "bool": edge.PayloadSchemaType.Keyword,  # marked, see `service.index.edge.payload_encoding`
    "datetime": edge.PayloadSchemaType.Datetime,
    "geo": edge.PayloadSchemaType.Geo,
}


class EdgeWorker:
    """One open shard, which answers requests."""

    def __init__(self, config: Open) -> None:
        self.path = Path(config.path)
        self.hnsw_ef = config.hnsw_ef
        lock_folder(self.path, LOCK_SECONDS)  # until this process ends
        self.unified = config.unified
        self.shard = self._open(config)
        self.selectivity = Selectivity(self.shard)
        self.unflushed = 1  # what the log may have brought back
        self.held = False

    def serve(self, channel: Channel) -> None:
        """Reply to the request to open, and answer others until the other end of the channel is closed."""
        try:
            channel.send(pack(Done()))
            while True:
                if self.unflushed and not self.held and not channel.poll(FLUSH_IDLE_SECONDS):
                    self.flush()
                channel.send(self.answer(channel.receive()))
        except (EOFError, OSError):
            self.shard.close()  # the parent is gone

    def answer(self, message: bytearray) -> bytes:
        """Return the reply to a packed request; errors are the caller's, who knows what it asked."""
        try:
            return pack(self._reply(SHARD_REQUESTS.unpack(message)))
        except Exception as error:
            return pack(Failed.of(error))

    def _reply(self, request: ShardRequest) -> object:
        match request:
            case Ping():
                return Done()
            case Upsert():
                return self.upsert(request)
            case Delete():
                return self.delete(request)
            case SetPayload():
                return self.set_payload(request)
            case Declare():
                return self.declare(request)
            case Retrieve():
                return self.retrieve(request)
            case Scroll():
                return self.scroll(request)
            case SearchEach():
                return self.search_each(request)
            case Count():
                return self.count(request)
            case Facet():
                return self.facet(request)
            case Info():
                return self.info()
            case Hold():
                return self.hold(request)
            case Optimize():
                return self.optimize()
        assert_never(request)

    def upsert(self, request: Upsert) -> Done:
        """Write records."""
        vectors: list[Any] = [each.vectors for each in request.records]  # arrays: the stubs know only lists
        points = [
            edge.Point(each.uuid, named, stored(each.payload))
            for each, named in zip(request.records, vectors, strict=True)
        ]
        return self._write(edge.UpdateOperation.upsert_points(points), len(points))

    def delete(self, request: Delete) -> Done:
        """Delete records by id."""
        return self._write(edge.UpdateOperation.delete_points(_listed(request.uuids)), len(request.uuids))

    def set_payload(self, request: SetPayload) -> Done:
        """Replace the named top-level fields of records."""
        change = edge.UpdateOperation.set_payload(_listed(request.uuids), stored(request.payload))
        return self._write(change, len(request.uuids))

    def declare(self, request: Declare) -> Done:
        """Index a payload field."""
        return self._write(edge.UpdateOperation.create_field_index(request.key, _SCHEMAS[request.kind]), 1)

    def retrieve(self, request: Retrieve) -> Found:
        """Return records by id."""
        found = self.shard.retrieve(_listed(request.uuids), with_payload=True, with_vector=request.vectors)
        return Found([_record(each) for each in found])

    def scroll(self, request: Scroll) -> Page:
        """Return a page of records by ascending id, and the next page's offset."""
        scroll = edge.ScrollRequest(
            offset=request.offset,
            limit=request.limit,
            filter=edge_filter(request.where),
            with_payload=True,
            with_vector=request.vectors,
        )
        found, following = self.shard.scroll(scroll)
        return Page([_record(each) for each in found], None if following is None else str(following))

    def search_each(self, request: SearchEach) -> Hits:
        """Return the records nearest the vector, under each filter."""
        vector: Any = request.vector
        answers = []
        for each in request.filters:
            query = edge.QueryRequest(
                limit=request.limit,
                query=edge.Query.Nearest(vector, using=request.using),
                filter=edge_filter(each.where),
                score_threshold=request.threshold,
                with_payload=["id"] if request.ids_only else True,
                with_vector=request.vectors,
                params=self._search_params(request, each),
            )
            answers.append([_record(hit, hit.score) for hit in self.shard.query(query)])
        return Hits(answers)

    def _search_params(self, request: SearchEach, under: SearchFilter) -> edge.SearchParams:
        """Return the parameters of a search under one filter, and choose between the graph and ACORN."""
        params, ef, rescored = None, max(self.hnsw_ef, request.limit), OVERSAMPLING * request.limit
        if under.acorn_below and under.where is not None and not request.exact:
            share = self.selectivity.share(under.where)
            if share < under.acorn_below:
                params = edge.AcornSearchParams(True, 1.0)
                ef = max(
                    ACORN_RARE_EF if share < RARE else ACORN_EF, ceil(ACORN_OVERSAMPLING * request.limit)
                )
                rescored = ef
        quantization = edge.QuantizationSearchParams(
            ignore=request.exact, rescore=True, oversampling=rescored / request.limit
        )
        return edge.SearchParams(hnsw_ef=ef, exact=request.exact, acorn=params, quantization=quantization)

    def count(self, request: Count) -> Counted:
        """Return the exact number of records that match."""
        return Counted(self.shard.count(edge.CountRequest(exact=True, filter=edge_filter(request.where))))

    def facet(self, request: Facet) -> FacetValues:
        """Return the values of a field and their counts."""
        facet = edge.FacetRequest(
            request.key, limit=request.limit, exact=True, filter=edge_filter(request.where)
        )
        return FacetValues(
            [FacetValue(unmarked(hit.value), hit.count) for hit in self.shard.facet(facet).hits]
        )

    def info(self) -> ShardInfo:
        """Return the numbers of points, of those in a graph, and of those deleted from one."""
        if self.unflushed and not self.held:
            self.flush()  # deletions are counted in the files
        info, deleted = self.shard.info(), holes(self.path, self.unified)
        return ShardInfo(
            points=info.points_count,
            # Each point in a graph has two vectors, and Edge counts both.
            indexed=info.indexed_vectors_count // 2 - sum(each.deleted for each in deleted),
            holed=max((each.share for each in deleted), default=0.0),
            outdated=(self.path / OUTDATED).exists(),
        )

    def hold(self, request: Hold) -> Holder:
        """Flush; if `held`, leave the files alone until the next `hold`."""
        self.flush()
        self.held = request.held
        return Holder(os.getpid())

    def optimize(self) -> Optimized:
        """Build the graphs and drop what was deleted; takes minutes, and ends at once if the parent dies."""
        _die_with_parent(signal.SIGKILL)
        changed = self.shard.optimize()
        (self.path / OUTDATED).unlink(missing_ok=True)
        self.flush()
        _die_with_parent(0)
        return Optimized(changed)

    def flush(self) -> None:
        """Write everything to the disk."""
        self.shard.flush()
        self.unflushed = 0

    def _write(self, change: edge.UpdateOperation, size: int) -> Done:
        self.shard.update(change)
        for log in (self.path / "wal").glob("open-*"):
            descriptor = os.open(log, os.O_RDONLY)
            try:
                os.fdatasync(descriptor)
            finally:
                os.close(descriptor)
        self.unflushed += size
        self.selectivity.changed(size)
        if self.unflushed > FLUSH_POINTS and not self.held:
            self.flush()
        return Done()

    def _open(self, config: Open) -> edge.EdgeShard:
        settings = self.path / "edge_config.json"
        if not settings.exists():
            shard = edge.EdgeShard.create(str(self.path), _shard_config(config))
            for key, kind in config.fields.items():
                shard.update(edge.UpdateOperation.create_field_index(key, _SCHEMAS[kind]))
            shard.flush()
            return shard
        if config.as_made:
            return edge.EdgeShard.load(str(self.path))
        former, mark = json.loads(settings.read_text()), self.path / OUTDATED
        marked = mark.exists()
        mark.touch()  # first: loading writes the settings, and may be the last thing this process does
        shard = edge.EdgeShard.load(str(self.path), _shard_config(config))
        if not marked and json.loads(settings.read_text()) == former:
            mark.unlink()
        return shard


def _shard_config(config: Open) -> edge.EdgeConfig:
    scalar = edge.ScalarQuantizationConfig(edge.ScalarType.Int8, quantile=0.99, memory=edge.Memory.Pinned)
    graph = edge.HnswIndexConfig(
        m=config.hnsw_m,
        ef_construct=config.hnsw_ef_construct,
        full_scan_threshold=config.scan_below_kb,
        max_indexing_threads=config.threads,
    )
    none = edge.HnswIndexConfig(m=0, ef_construct=4, full_scan_threshold=10_000, payload_m=0)
    vectors = {
        config.unified: edge.EdgeVectorParams(
            config.dim,
            edge.Distance.Cosine,
            memory=edge.Memory.Cold if config.on_disk else edge.Memory.Cached,
            quantization_config=scalar if config.quantize else None,
            hnsw_config=graph,
        )
    }
    for name, dim in config.natives.items():
        vectors[name] = edge.EdgeVectorParams(
            dim, edge.Distance.Cosine, memory=edge.Memory.Cold, hnsw_config=none
        )
    optimizers = edge.EdgeOptimizersConfig(indexing_threshold=config.scan_below_kb)
    return edge.EdgeConfig(vectors=vectors, optimizers=optimizers)


def _record(found: Any, score: float = 0.0) -> Record:
    vectors = found.vector if isinstance(found.vector, dict) else {}
    return Record(
        str(found.id),
        given(found.payload or {}),
        {name: np.asarray(vector, dtype=np.float32) for name, vector in vectors.items()},
        score,
    )


def _die_with_parent(death_signal: int) -> None:
    """Ask Linux for a signal when the parent dies: while Edge holds the lock no thread could notice."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, death_signal, 0, 0, 0)


def _listed(uuids: Sequence[str]) -> list[Any]:
    return list(uuids)  # the stubs know only lists of ids of every type


def main() -> None:
    """Serve the shard that the first request names, until the parent is gone."""
    channel = parent_channel()
    try:
        message = channel.receive()
        if channel.poll(0):
            return  # the parent has died meanwhile: its successor may be clearing the folder up
        try:
            worker = EdgeWorker(OPEN_REQUESTS.unpack(message))
        except Exception as error:  # the parent decides what to do
            channel.send(pack(Failed.of(error)))
            return
    except (EOFError, OSError):
        return
    worker.serve(channel)


if __name__ == "__main__":
    main()

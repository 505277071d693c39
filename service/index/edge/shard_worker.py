"""The child process that owns one Qdrant Edge shard: `python -m service.index.edge.shard_worker FD CONFIG`.

Edge holds the interpreter's lock while it works, so it works here and not among the service's threads. It
is given messages (`service.index.records`) on a socket and answers each in turn; a write is in the
write-ahead log and the log on the disk before it is answered. When the socket closes, the process ends.
"""

import ctypes
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from math import ceil
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import qdrant_edge as edge

from service.index.edge.filters import edge_filter
from service.index.edge.payload import given, stored, unmarked
from service.index.edge.selectivity import Selectivity
from service.index.edge.shard_folder import holes, lock_folder
from service.index.records import Record, pack, unpack

FLUSH_IDLE_SECONDS = 2.0
"""A shard left alone this long is flushed, so that its next start has no log to replay."""
FLUSH_POINTS = 50_000
"""Writes after which it is flushed in any case, so that the log stays small."""
LOCK_SECONDS = 60.0
"""How long a former owner, whose parent was killed, may take to let go of the shard."""
OVERSAMPLING = 2.0
"""Hits scored again with the original vectors, as a multiple of those asked for."""
ACORN_OVERSAMPLING = 1.3
"""The same of a search by ACORN, whose candidates cost more: of ten hits a hundredth is lost without any."""
ACORN_EF, ACORN_RARE_EF, RARE = 13, 20, 0.02
"""Candidates of a search by ACORN, at least: it looks at the neighbours of neighbours, and each costs several
times as much. The second holds where less than such a share of the points passes: those lie further apart."""
OUTDATED = "outdated"
"""A file in a shard's folder: its segments are of other settings than it has now, until it is optimised."""
_PR_SET_PDEATHSIG = 1

_SCHEMAS = {
    "keyword": edge.PayloadSchemaType.Keyword,
    "integer": edge.PayloadSchemaType.Integer,
    "float": edge.PayloadSchemaType.Float,
    "bool": edge.PayloadSchemaType.Keyword,  # marked, see `service.index.edge.payload`
    "datetime": edge.PayloadSchemaType.Datetime,
    "geo": edge.PayloadSchemaType.Geo,
}


class EdgeWorker:
    """Answers messages about one shard. `config` is `ShardProcess`'s."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.path = Path(config["path"])
        self.hnsw_ef = int(config["hnsw_ef"])
        lock_folder(self.path, LOCK_SECONDS)  # until this process ends
        self.unified = str(config["unified"])
        self.shard = self._open(config)
        self.selectivity = Selectivity(self.shard)
        self.unflushed = 1  # what the log may have brought back
        self.held = False
        self.answers: dict[str, Callable[[dict[str, Any], list[Record]], tuple[Any, Sequence[Record]]]] = {
            "ping": lambda head, records: (None, ()),
            "upsert": self.upsert,
            "delete": self.delete,
            "set_payload": self.set_payload,
            "declare": self.declare,
            "retrieve": self.retrieve,
            "scroll": self.scroll,
            "query": self.query,
            "count": self.count,
            "facet": self.facet,
            "info": self.info,
            "hold": self.hold,
            "optimize": self.optimize,
        }

    def serve(self, connection: Connection) -> None:
        """Answer until the other end closes."""
        try:
            connection.send_bytes(pack({"answer": "ready"}))
            while True:
                if self.unflushed and not self.held and not connection.poll(FLUSH_IDLE_SECONDS):
                    self.flush()
                connection.send_bytes(self.answer(connection.recv_bytes()))
        except (EOFError, OSError):
            self.shard.close()  # nobody is there any more

    def answer(self, message: bytes) -> bytes:
        """The reply to one message; what goes wrong is told to the caller, who knows what it asked."""
        head, records = unpack(message)
        try:
            answer, found = self.answers[head["ask"]](head, records)
        except Exception as error:
            return pack({"error": f"{type(error).__name__}: {error}"})
        return pack({"answer": answer}, found)

    def upsert(self, head: dict[str, Any], records: list[Record]) -> tuple[None, Sequence[Record]]:
        """Write records."""
        vectors: list[Any] = [dict(each.vectors) for each in records]  # arrays: the stubs know only lists
        points = [
            edge.Point(each.uuid, named, stored(each.payload))
            for each, named in zip(records, vectors, strict=True)
        ]
        return self._write(edge.UpdateOperation.upsert_points(points), len(points))

    def delete(self, head: dict[str, Any], records: list[Record]) -> tuple[None, Sequence[Record]]:
        """Delete records by id."""
        return self._write(edge.UpdateOperation.delete_points(head["uuids"]), len(head["uuids"]))

    def set_payload(self, head: dict[str, Any], records: list[Record]) -> tuple[None, Sequence[Record]]:
        """Replace the named top-level fields of records."""
        change = edge.UpdateOperation.set_payload(head["uuids"], stored(head["payload"]))
        return self._write(change, len(head["uuids"]))

    def declare(self, head: dict[str, Any], records: list[Record]) -> tuple[None, Sequence[Record]]:
        """Index a payload field."""
        change = edge.UpdateOperation.create_field_index(head["key"], _SCHEMAS[head["kind"]])
        return self._write(change, 1)

    def retrieve(self, head: dict[str, Any], records: list[Record]) -> tuple[None, Sequence[Record]]:
        """Records by id."""
        found = self.shard.retrieve(head["uuids"], with_payload=True, with_vector=head["vectors"])
        return None, [_record(each) for each in found]

    def scroll(self, head: dict[str, Any], records: list[Record]) -> tuple[str | None, Sequence[Record]]:
        """A page of records by ascending id; answers the next page's offset."""
        request = edge.ScrollRequest(
            offset=head["offset"],
            limit=head["limit"],
            filter=edge_filter(head["where"]),
            with_payload=True,
            with_vector=head["vectors"],
        )
        found, following = self.shard.scroll(request)
        return None if following is None else str(following), [_record(each) for each in found]

    def query(self, head: dict[str, Any], records: list[Record]) -> tuple[list[int], Sequence[Record]]:
        """Return the records nearest the one vector sent, filter by filter; answers the number of each."""
        vector: Any = records[0].vectors["query"]
        counts, found = [], []
        for where, acorn_below in zip(head["filters"], head["acorn_below"], strict=True):
            request = edge.QueryRequest(
                limit=head["limit"],
                offset=head["offset"],
                query=edge.Query.Nearest(vector, using=head["using"]),
                filter=edge_filter(where),
                score_threshold=head["threshold"],
                with_payload=True,
                with_vector=head["vectors"],
                params=self._search_params(head, where, acorn_below),
            )
            hits = [_record(each, each.score) for each in self.shard.query(request)]
            counts.append(len(hits))
            found += hits
        return counts, found

    def _search_params(
        self, head: dict[str, Any], where: dict[str, Any] | None, acorn_below: float
    ) -> edge.SearchParams:
        """Return the parameters of a search; ACORN where a share below `acorn_below` passes the filter."""
        deepest = head["limit"] + head["offset"]
        params, ef, rescored = None, max(self.hnsw_ef, deepest), OVERSAMPLING * deepest
        if acorn_below and where is not None and not head["exact"]:
            share = self.selectivity.share(where)
            if share < acorn_below:
                params = edge.AcornSearchParams(True, 1.0)
                ef = max(ACORN_RARE_EF if share < RARE else ACORN_EF, ceil(ACORN_OVERSAMPLING * deepest))
                rescored = ef
        quantization = edge.QuantizationSearchParams(
            ignore=head["exact"], rescore=True, oversampling=rescored / deepest
        )
        return edge.SearchParams(hnsw_ef=ef, exact=head["exact"], acorn=params, quantization=quantization)

    def count(self, head: dict[str, Any], records: list[Record]) -> tuple[int, Sequence[Record]]:
        """How many records match, exactly."""
        return self.shard.count(edge.CountRequest(exact=True, filter=edge_filter(head["where"]))), ()

    def facet(self, head: dict[str, Any], records: list[Record]) -> tuple[Any, Sequence[Record]]:
        """Values of a field and their counts."""
        request = edge.FacetRequest(
            head["key"], limit=head["limit"], exact=True, filter=edge_filter(head["where"])
        )
        return [[unmarked(hit.value), hit.count] for hit in self.shard.facet(request).hits], ()

    def info(self, head: dict[str, Any], records: list[Record]) -> tuple[Any, Sequence[Record]]:
        """How many points there are and how many of them in a graph, whose points have two vectors each.

        `holed`: the largest share that was deleted of a graph; `outdated`: the graphs are of other settings.
        """
        if self.unflushed and not self.held:
            self.flush()  # what was deleted is counted in the files
        info, deleted = self.shard.info(), holes(self.path, self.unified)
        indexed = info.indexed_vectors_count // 2 - sum(each.deleted for each in deleted)
        return {
            "points": info.points_count,
            "indexed": indexed,
            "holed": max((each.share for each in deleted), default=0.0),
            "outdated": (self.path / OUTDATED).exists(),
        }, ()

    def hold(self, head: dict[str, Any], records: list[Record]) -> tuple[int, Sequence[Record]]:
        """Flush, and where `held` leave the files alone until the next `hold`, so that they can be copied.

        Answers the process id: one started in between knows nothing of it.
        """
        self.flush()
        self.held = bool(head["held"])
        return os.getpid(), ()

    def optimize(self, head: dict[str, Any], records: list[Record]) -> tuple[bool, Sequence[Record]]:
        """Build the graphs and drop what was deleted; takes minutes, and ends at once if the parent dies."""
        _die_with_parent(signal.SIGKILL)
        changed = self.shard.optimize()
        (self.path / OUTDATED).unlink(missing_ok=True)
        self.flush()
        _die_with_parent(0)
        return changed, ()

    def flush(self) -> None:
        """Bring everything to the disk."""
        self.shard.flush()
        self.unflushed = 0

    def _write(self, change: edge.UpdateOperation, size: int) -> tuple[None, Sequence[Record]]:
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
        return None, ()

    def _open(self, config: dict[str, Any]) -> edge.EdgeShard:
        settings = self.path / "edge_config.json"
        if not settings.exists():
            shard = edge.EdgeShard.create(str(self.path), _shard_config(config))
            for key, kind in config["fields"].items():
                shard.update(edge.UpdateOperation.create_field_index(key, _SCHEMAS[kind]))
            shard.flush()
            return shard
        if config["as_made"]:
            return edge.EdgeShard.load(str(self.path))
        former, mark = json.loads(settings.read_text()), self.path / OUTDATED
        marked = mark.exists()
        mark.touch()  # first: loading writes the settings, and may be the last thing this process does
        shard = edge.EdgeShard.load(str(self.path), _shard_config(config))
        if not marked and json.loads(settings.read_text()) == former:
            mark.unlink()
        return shard


def _shard_config(config: dict[str, Any]) -> edge.EdgeConfig:
    scalar = edge.ScalarQuantizationConfig(edge.ScalarType.Int8, quantile=0.99, memory=edge.Memory.Pinned)
    graph = edge.HnswIndexConfig(
        m=config["hnsw_m"],
        ef_construct=config["hnsw_ef_construct"],
        full_scan_threshold=config["scan_below_kb"],
        max_indexing_threads=config["threads"],
    )
    none = edge.HnswIndexConfig(m=0, ef_construct=4, full_scan_threshold=10_000, payload_m=0)
    vectors = {
        config["unified"]: edge.EdgeVectorParams(
            config["dim"],
            edge.Distance.Cosine,
            memory=edge.Memory.Cold if config["on_disk"] else edge.Memory.Cached,
            quantization_config=scalar if config["quantize"] else None,
            hnsw_config=graph,
        )
    }
    for name, dim in config["natives"].items():
        vectors[name] = edge.EdgeVectorParams(
            dim, edge.Distance.Cosine, memory=edge.Memory.Cold, hnsw_config=none
        )
    optimizers = edge.EdgeOptimizersConfig(indexing_threshold=config["scan_below_kb"])
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


def main() -> None:
    """Serve the shard that the command line names, on the descriptor it names."""
    connection = Connection(int(sys.argv[1]))
    if connection.poll(0):
        return  # the parent has died meanwhile: its successor may be clearing the folder up
    try:
        worker = EdgeWorker(json.loads(sys.argv[2]))
    except Exception as error:  # told to the parent, which decides
        connection.send_bytes(pack({"error": f"{type(error).__name__}: {error}"}))
        return
    worker.serve(connection)


if __name__ == "__main__":
    main()

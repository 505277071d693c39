"""Generations in Qdrant, by its client: a server or cluster by URL, or the client's own local mode.

A collection is an alias, a generation the Qdrant collection behind it, whose metadata holds its layout. Local
mode scans everything and takes one caller at a time, which this class sees to: it is for tests and small
data.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import ApiException, UnexpectedResponse

from service.errors import IndexUnavailable
from service.index.backend import (
    ACORN_SELECTIVITY,
    SEARCH_EF,
    Generation,
    Query,
    Usage,
    VectorStorage,
    collection_of,
    combines,
    generation_name,
    never,
)
from service.index.payload import UNIFIED, native_name
from service.index.protocol import Layout, Vector
from service.index.records import Record
from service.schemas.fields import FieldType

ALIAS_SECONDS = 1.0
"""Seconds for which a server's aliases are believed; another replica of the service may switch them."""

METADATA_SECONDS = 60.0
"""Seconds a generation's metadata are believed: another replica may declare fields of it meanwhile."""

LOCAL_DIGITS = 6
"""Digits of local mode's cosines. It divides every vector by its length again at every search, so that equal
vectors written at different times differ in the seventh."""

INDEXING_SECONDS = 1800.0
"""Seconds that a server's indexing is waited for; it goes on by itself in any case."""


class QdrantBackend:
    """`service.index.backend.IndexBackend` over a `QdrantClient`, which it owns."""

    def __init__(self, client: QdrantClient, *, local: bool, storage: VectorStorage | None = None) -> None:
        self._client = client
        self._local = local
        self._storage = storage or VectorStorage()
        self._lock = threading.RLock()
        self._current: dict[str, Generation] = {}
        self._stale_at = float("-inf")
        self._changes = 0
        self._asking_aliases = threading.Lock()
        self._known: dict[str, tuple[Generation, float]] = {}
        """Generations by name, and until when each is believed."""

    @classmethod
    def at_url(cls, url: str, *, api_key: str | None = None, storage: VectorStorage | None = None) -> Self:
        """Return a backend on a Qdrant server, 1.16 or newer."""
        client = QdrantClient(url=url, api_key=api_key, timeout=30, check_compatibility=False)
        return cls(client, local=False, storage=storage)

    @classmethod
    def at_path(cls, path: Path | None) -> Self:
        """Return a backend in local mode: in a folder, or in memory where `path` is None.

        Raises `IndexUnavailable` where another process has the folder open.
        """
        try:
            client = QdrantClient(path=str(path)) if path else QdrantClient(":memory:")
        except RuntimeError as error:
            raise IndexUnavailable(f"the index in {path} is in use by another process: {error}") from error
        return cls(client, local=True)

    def close(self) -> None:
        """Close files and connections. Idempotent."""
        with self._lock:
            self._client.close()

    def ping(self) -> None:
        """Return if the backend answers; else raise `IndexUnavailable`."""
        with self._calling():
            self._client.get_aliases()

    def current(self) -> Mapping[str, Generation]:
        """Return every collection and the generation it reads."""
        if time.monotonic() <= self._stale_at:
            return self._current
        with self._asking_aliases:  # one thread asks, and the others wait for its answer
            if time.monotonic() <= self._stale_at:
                return self._current
            changes = self._changes
            with self._calling():
                current = {
                    alias.alias_name: self._generation(alias.collection_name)
                    for alias in self._client.get_aliases().aliases
                    if collection_of(alias.collection_name) == alias.alias_name
                }
            with self._lock:
                if changes == self._changes:  # else it is older than a change, and the next caller asks anew
                    self._current = current
                    self._stale_at = float("inf") if self._local else time.monotonic() + ALIAS_SECONDS
            return current

    def generations(self, collection: str) -> list[Generation]:
        """Return every generation made for a collection, the oldest first."""
        with self._calling():
            names = [each.name for each in self._client.get_collections().collections]
            made = [
                (self._metadata(name)["made"], self._generation(name))
                for name in names
                if collection_of(name) == collection
            ]
        return [generation for _, generation in sorted(made, key=lambda pair: pair[0])]

    def create(self, collection: str, layout: Layout, fields: Mapping[str, FieldType]) -> Generation:
        """Make an empty generation that nothing reads yet."""
        name = generation_name(collection)
        vectors = {UNIFIED: self._unified(layout.dim)}
        for space, dim in layout.natives.items():
            vectors[native_name(space)] = models.VectorParams(
                size=dim,
                distance=models.Distance.COSINE,
                on_disk=True,
                hnsw_config=models.HnswConfigDiff(m=0),
            )
        metadata = {
            "made": time.time_ns(),
            "connector": layout.connector,
            "dim": layout.dim,
            "natives": dict(layout.natives),
            "fields": dict(fields),
        }
        with self._calling():
            self._client.create_collection(name, vectors_config=vectors, metadata={"isthmus": metadata})
            for key, kind in fields.items():
                self._index_field(name, key, kind)
        return self._keep(Generation(name, layout, dict(fields)))

    def switch(self, reads: Mapping[str, str | None]) -> None:
        """Let collections read other generations, all in one step; None removes the collection."""
        steps: list[models.AliasOperations] = []
        for collection, name in reads.items():
            forget = models.DeleteAlias(alias_name=collection)
            steps.append(models.DeleteAliasOperation(delete_alias=forget))
            if name is not None:
                alias = models.CreateAlias(collection_name=name, alias_name=collection)
                steps.append(models.CreateAliasOperation(create_alias=alias))
        with self._calling():
            self._client.update_collection_aliases(steps)
        self._forget_current()

    def drop(self, name: str) -> None:
        """Delete a generation."""
        with self._calling():
            self._client.delete_collection(name)
        self._known.pop(name, None)

    def declare(self, name: str, key: str, kind: FieldType) -> None:
        """Index one more payload field."""
        with self._calling():
            metadata = self._metadata(name)
            metadata["fields"] = {**metadata["fields"], key: kind}
            self._client.update_collection(name, metadata={"isthmus": metadata})
            self._index_field(name, key, kind)
        self._known.pop(name, None)
        self._forget_current()

    def upsert(self, name: str, records: Sequence[Record]) -> None:
        """Write records, replacing those with the same id."""
        points = [
            models.PointStruct(
                id=record.uuid,
                vector={key: vector.tolist() for key, vector in record.vectors.items()},
                payload=dict(record.payload),
            )
            for record in records
        ]
        with self._calling():
            self._client.upsert(name, points, wait=True)

    def retrieve(self, name: str, uuids: Sequence[str], with_vectors: bool) -> list[Record]:
        """Return the records that exist, in any order."""
        with self._calling():
            found = self._client.retrieve(name, list(uuids), with_payload=True, with_vectors=with_vectors)
        return [_record(each) for each in found]

    def delete(self, name: str, uuids: Sequence[str]) -> None:
        """Delete records; those that do not exist are skipped."""
        with self._calling():
            self._client.delete(name, models.PointIdsList(points=list(uuids)), wait=True)

    def set_payload(self, name: str, uuids: Sequence[str], payload: Mapping[str, Any]) -> None:
        """Replace the named top-level fields of records."""
        with self._calling():
            self._client.set_payload(name, dict(payload), points=list(uuids), wait=True)

    def scroll(
        self, name: str, where: models.Filter | None, limit: int, offset: str | None, with_vectors: bool
    ) -> tuple[list[Record], str | None]:
        """Return a page of records by ascending id, from `offset`, and the next page's offset."""
        with self._calling():
            found, following = self._client.scroll(
                name, where, limit=limit, offset=offset, with_payload=True, with_vectors=with_vectors
            )
        return [_record(each) for each in found], None if following is None else str(following)

    def query(self, name: str, query: Query, with_vectors: bool, exact: bool) -> list[list[Record]]:
        """Return for each of the query's filters the nearest records by cosine, best first, `score` set."""
        requests = [
            models.QueryRequest(
                query=query.vector.tolist(),
                using=UNIFIED,
                filter=where,
                params=self._search_params(query, where, exact),
                limit=query.limit,
                score_threshold=query.threshold,
                with_payload=["id"] if query.ids_only else True,
                with_vector=with_vectors or ([UNIFIED] if self._local else False),
            )
            for where in query.filters
        ]
        with self._calling():
            answers = self._client.query_batch_points(name, requests)
        hits = [[_record(each, each.score) for each in found.points] for found in answers]
        if self._local:
            return [_scored_again(records, query.vector, with_vectors) for records in hits]
        return hits

    def _search_params(
        self, query: Query, where: models.Filter | None, exact: bool
    ) -> models.SearchParams | None:
        if self._local:
            return None  # local mode is exact, and warns where parameters ask for that
        return models.SearchParams(
            hnsw_ef=max(SEARCH_EF, query.limit),
            exact=exact,
            acorn=models.AcornSearchParams(enable=combines(where), max_selectivity=ACORN_SELECTIVITY),
            quantization=models.QuantizationSearchParams(ignore=exact, rescore=True, oversampling=2.0),
        )

    def count(self, name: str, where: models.Filter | None) -> int:
        """Return the exact number of records that match."""
        with self._calling():
            return self._client.count(name, count_filter=where, exact=True).count

    def facet(
        self, name: str, key: str, where: models.Filter | None, limit: int
    ) -> list[tuple[str | int | bool, int]]:
        """Return the values of an indexed field and their counts, most frequent first."""
        with self._calling():
            found = self._client.facet(name, key, facet_filter=where, limit=limit, exact=True)
        return [(hit.value, hit.count) for hit in found.hits]

    def usage(self, name: str) -> Usage:
        """Return how many records are indexed; local mode indexes none."""
        with self._calling():
            info = self._client.get_collection(name)
        indexed = 0 if self._local else info.indexed_vectors_count or 0
        return Usage(indexed, info.status != models.CollectionStatus.GREEN, None)

    def unload(self, name: str) -> None:
        """Do nothing: a server manages its memory itself."""

    def finish_indexing(self, name: str, given_up: Callable[[], bool] = never) -> bool:
        """Wait until a server has indexed the records; False once `given_up`. Local mode indexes nothing."""
        deadline = time.monotonic() + INDEXING_SECONDS
        while not self._local and self.usage(name).optimizing and time.monotonic() < deadline:
            if given_up():
                return False
            time.sleep(0.5)
        return True

    @contextmanager
    def _calling(self) -> Iterator[None]:
        """Guard one call to the client: alone where it is local, its failures as `IndexUnavailable`."""
        guard: AbstractContextManager[Any] = self._lock if self._local else nullcontext()
        with guard:
            try:
                yield
            except UnexpectedResponse as error:
                raise IndexUnavailable(f"the Qdrant server refused: {error}") from error
            except ApiException as error:
                raise IndexUnavailable(f"the Qdrant server does not answer: {error}") from error
            except ValueError as error:
                if not self._local or "not found" not in str(error):
                    raise
                raise IndexUnavailable(f"{error}: it was deleted meanwhile; ask again") from error

    def _forget_current(self) -> None:
        with self._lock:
            self._changes += 1
            self._stale_at = float("-inf")

    def _unified(self, dim: int) -> models.VectorParams:
        scalar = models.ScalarQuantizationConfig(type=models.ScalarType.INT8, always_ram=True)
        return models.VectorParams(
            size=dim,
            distance=models.Distance.COSINE,
            on_disk=self._storage.on_disk,
            quantization_config=models.ScalarQuantization(scalar=scalar) if self._storage.quantize else None,
        )

    def _index_field(self, name: str, key: str, kind: FieldType) -> None:
        if not self._local:  # local mode scans, and warns that it does
            self._client.create_payload_index(name, key, models.PayloadSchemaType(kind), wait=True)

    def _metadata(self, name: str) -> dict[str, Any]:
        metadata = (self._client.get_collection(name).config.metadata or {}).get("isthmus")
        if not isinstance(metadata, dict):
            raise IndexUnavailable(f"Qdrant collection {name} has no metadata: its server is older than 1.16")
        return metadata

    def _generation(self, name: str) -> Generation:
        known, believed_until = self._known.get(name, (None, 0.0))
        if known is None or time.monotonic() > believed_until:
            made = self._metadata(name)
            layout = Layout(made["dim"], made["natives"], made["connector"])
            known = self._keep(Generation(name, layout, made["fields"]))
        return known

    def _keep(self, generation: Generation) -> Generation:
        self._known[generation.name] = (generation, time.monotonic() + METADATA_SECONDS)
        return generation


def _record(found: models.Record | models.ScoredPoint, score: float = 0.0) -> Record:
    vectors = found.vector if isinstance(found.vector, Mapping) else {}
    return Record(
        str(found.id),
        found.payload or {},
        {name: np.asarray(vector, dtype=np.float32) for name, vector in vectors.items()},
        score,
    )


def _scored_again(records: Sequence[Record], vector: Vector, with_vectors: bool) -> list[Record]:
    """Return the records with scores that depend on their vectors alone, and with vectors where asked for.

    Local mode multiplies all vectors at once, which gives equal ones other last bits by where they lie.
    """
    query = _unit(vector)
    scored = []
    for each in records:
        score = round(float(_unit(each.vectors[UNIFIED]) @ query), LOCAL_DIGITS)
        scored.append(replace(each, vectors=each.vectors if with_vectors else {}, score=score))
    return sorted(scored, key=lambda each: -each.score)


def _unit(vector: Vector) -> npt.NDArray[np.float64]:
    precise = vector.astype(np.float64)
    unit: npt.NDArray[np.float64] = precise / (float(np.linalg.norm(precise)) or 1.0)
    return unit

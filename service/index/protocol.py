"""The vector index as the service sees it, whichever backend keeps it.

Holds the types that go in and out (`Point`, `Hit`, `StoredPoint`) and the `Index` protocol. Every method is
synchronous and may be called from any thread; the app calls them on a bounded pool of threads.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from connectors.modality import Modality
from service.schemas.fields import FieldType

Vector = npt.NDArray[np.float32]
"""One L2-normalised vector: float32 [dim]."""


@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """One item as it is written to the index.

    `payload` holds `media` (key in the media store, or absent), `mime`, `sha256`, `name`, `caption`,
    `metadata` (the user's own JSON object), `connector` (its version) and `created` (ISO 8601, UTC). The
    index adds what it needs to find `id` and `modality` again.
    """

    id: str
    modality: Modality
    space: str
    unified: Vector
    native: Vector
    payload: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class StoredPoint:
    """One item as it is read back; the vectors are None unless they were asked for."""

    id: str
    modality: Modality
    space: str
    payload: Mapping[str, Any]
    unified: Vector | None = None
    native: Vector | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Hit:
    """One result of a search: a stored point and the cosine of its unified vector to the query."""

    point: StoredPoint
    cosine: float


@dataclass(frozen=True, slots=True)
class CollectionInfo:
    """A collection's name, the length of its vectors and its number of points."""

    name: str
    dim: int
    count: int


Filter = Mapping[str, Any]
"""A filter in Qdrant's grammar, as JSON; keys and limits are those of `service.index.filter_grammar`."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The vectors an index holds, as the service's bundle makes them.

    `dim` is the unified space's; `natives` maps each space (`clip`, `clap`, ...) to the dimension of its
    native vectors; `connector` is the version of the connector that makes the unified vectors.
    """

    dim: int
    natives: Mapping[str, int]
    connector: str


@dataclass(frozen=True, slots=True)
class CollectionStats:
    """A collection's size and state.

    `indexed` counts the points a search reaches through HNSW; the others it scans. While `optimizing` is true
    more of them are being indexed, and reads and writes go on. `fields` are the payload fields with an index.
    """

    name: str
    connector: str
    dim: int
    count: int
    indexed: int
    optimizing: bool
    bytes_on_disk: int | None
    fields: Mapping[str, FieldType]


@runtime_checkable
class Index(Protocol):
    """A vector index. Collections are created by the first `upsert` into them.

    Reading from a collection that does not exist returns nothing (empty lists, zero) and never raises.
    Raises `InvalidFilter` for a bad filter, and `service.errors.IndexUnavailable` for every failure of the
    backend.
    """

    def upsert(self, collection: str, points: Sequence[Point], connector: str | None = None) -> None:
        """Write points, replacing those with the same id. They survive a `kill -9` when this returns.

        `connector` is the version that made the unified vectors. Raises `CollectionConflict` where the
        collection no longer holds vectors of that version, `ConfigError` for vectors of another shape.
        """

    def get(self, collection: str, ids: Sequence[str], with_vectors: bool = False) -> list[StoredPoint]:
        """Return the points with these ids that exist, in the order asked for."""

    def delete(self, collection: str, ids: Sequence[str]) -> list[str]:
        """Delete points; return the ids that were there. Durable when this returns."""

    def set_payload(self, collection: str, point_id: str, payload: Mapping[str, Any]) -> bool:
        """Replace the named top-level fields of one point's payload; False if there is no such point.

        Raises `InvalidRequest` for a value that is not of its field's declared type.
        """

    def scroll(
        self,
        collection: str,
        limit: int = 100,
        cursor: str | None = None,
        modality: Modality | None = None,
        where: Filter | None = None,
        with_vectors: bool = False,
    ) -> tuple[list[StoredPoint], str | None]:
        """Return one page of points in a stable order, and the cursor of the next page (None at the end).

        Raises `ConfigError` for a cursor that no earlier page returned.
        """

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
        """Return the nearest points by cosine of unified vectors, best first; `score_threshold` is a cosine.

        Equal cosines are in the order of the points' ids, and are cut in it: pages of an exact search join
        into one list. `exact` scans instead of asking HNSW. `connector` is the version that projected
        `vector`; raises `CollectionConflict` where the collection holds no vectors of that version.
        """

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

    def count(self, collection: str, modality: Modality | None = None, where: Filter | None = None) -> int:
        """Return the exact number of points that match."""

    def facets(
        self, collection: str, key: str, limit: int = 10, where: Filter | None = None
    ) -> list[tuple[str | int | bool, int]]:
        """Return the values of an indexed payload field and how many points hold each, most frequent first.

        Values that equally many points hold are in their own order, and are cut in it. Raises
        `InvalidFilter` where the field is not one of the collection's `fields`.
        """

    def declare_field(self, collection: str, key: str, kind: FieldType) -> bool:
        """Index a payload field, for present and future points; filters on it get fast.

        Return False where it was declared so already.
        """

    def stats(self, collection: str) -> CollectionStats | None:
        """Return a collection's size and state; None if there is none."""

    def names(self) -> list[str]:
        """Return the name of every collection, in order."""

    def collections(self) -> list[CollectionInfo]:
        """Return every collection with its number of points, by name."""

    def create(self, collection: str, dim: int) -> bool:
        """Create an empty collection for unified vectors of `dim`; False if it is there already."""

    def drop(self, collection: str) -> bool:
        """Delete a collection and all its points; False if there is none."""

    def healthy(self) -> bool:
        """Return whether the backend answers now. Never raises."""

    def close(self) -> None:
        """Close files and connections. Idempotent."""

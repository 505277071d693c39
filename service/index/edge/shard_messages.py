"""Messages between a `ShardProcess` and its worker: requests, and the reply to each.

Filters are those of `service.index.filters`, dumped as JSON without their nulls.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from service.concurrency.messages import Done, Kinds, Request
from service.index.records import Record

JsonObject: TypeAlias = Mapping[str, Any]
FieldKind = Literal["keyword", "integer", "float", "bool", "datetime", "geo"]
"""`service.schemas.fields.FieldType`; a worker that imported it would load Pydantic."""


@dataclass(frozen=True)
class Found:
    """Records."""

    records: Sequence[Record]


@dataclass(frozen=True)
class Page:
    """Records, and the offset of the next page if there is one."""

    records: Sequence[Record]
    following: str | None


@dataclass(frozen=True)
class Hits:
    """The records found under each filter."""

    of_filters: Sequence[Sequence[Record]]


@dataclass(frozen=True)
class Counted:
    """A number of records."""

    count: int


@dataclass(frozen=True)
class FacetValue:
    """One value of a field and the number of records with it."""

    value: str | int | bool
    count: int


@dataclass(frozen=True)
class FacetValues:
    """The values of a field, most frequent first."""

    values: Sequence[FacetValue]


@dataclass(frozen=True)
class ShardInfo:
    """Numbers of records, and the state of the graphs.

    `indexed` are in a graph; `holed` is the largest share of a graph that was deleted; `outdated` says that
    the graphs were built with other settings.
    """

    points: int
    indexed: int
    holed: float
    outdated: bool


@dataclass(frozen=True)
class Holder:
    """The process that flushed the shard; one started in between does not hold its files."""

    pid: int


@dataclass(frozen=True)
class Optimized:
    """An optimisation is over; it changed the shard or found nothing to do."""

    changed: bool


@dataclass(frozen=True)
class Open(Request[Done]):
    """Open the shard in `path`, or create it; the first request of every process.

    `natives` are the dimensions of the vectors that are stored beside `unified`. With `as_made`, a shard
    that exists keeps its settings; else it takes these with its next optimisation.
    """

    path: str
    unified: str
    dim: int
    natives: Mapping[str, int]
    fields: Mapping[str, FieldKind]
    as_made: bool
    quantize: bool
    on_disk: bool
    hnsw_m: int
    hnsw_ef_construct: int
    hnsw_ef: int
    threads: int
    scan_below_kb: int


@dataclass(frozen=True)
class Ping(Request[Done]):
    """Answer."""


@dataclass(frozen=True, eq=False)
class Upsert(Request[Done]):
    """Write records, replacing those with the same id."""

    records: Sequence[Record]

    @property
    def uuids(self) -> Sequence[str]:
        """The records it changes."""
        return [each.uuid for each in self.records]


@dataclass(frozen=True)
class Delete(Request[Done]):
    """Delete records by id."""

    uuids: Sequence[str]


@dataclass(frozen=True)
class SetPayload(Request[Done]):
    """Replace the named top-level fields of records."""

    uuids: Sequence[str]
    payload: JsonObject


@dataclass(frozen=True)
class Declare(Request[Done]):
    """Index a payload field."""

    key: str
    kind: FieldKind


@dataclass(frozen=True)
class Retrieve(Request[Found]):
    """Return records by id."""

    uuids: Sequence[str]
    vectors: bool


@dataclass(frozen=True)
class Scroll(Request[Page]):
    """Return a page of records by ascending id."""

    where: JsonObject | None
    limit: int
    offset: str | None
    vectors: bool


@dataclass(frozen=True)
class SearchFilter:
    """One filter of a search; ACORN searches it if it passes a smaller share of points than `acorn_below`."""

    where: JsonObject | None
    acorn_below: float


@dataclass(frozen=True, eq=False)
class SearchEach(Request[Hits]):
    """Return the records nearest a vector, under each filter."""

    using: str
    vector: npt.NDArray[np.float32]
    filters: Sequence[SearchFilter]
    limit: int
    threshold: float | None
    ids_only: bool
    vectors: bool
    exact: bool


@dataclass(frozen=True)
class Count(Request[Counted]):
    """Count the records that match, exactly."""

    where: JsonObject | None


@dataclass(frozen=True)
class Facet(Request[FacetValues]):
    """Return the most frequent values of an indexed field."""

    key: str
    where: JsonObject | None
    limit: int


@dataclass(frozen=True)
class Info(Request[ShardInfo]):
    """Count the points, those in a graph, and those that were deleted from one."""


@dataclass(frozen=True)
class Hold(Request[Holder]):
    """Flush; if `held`, leave the files alone until the next `Hold`, so that they can be copied."""

    held: bool


@dataclass(frozen=True)
class Optimize(Request[Optimized]):
    """Build the graphs and drop what was deleted."""


Change: TypeAlias = Upsert | Delete | SetPayload
ShardRequest: TypeAlias = (
    Ping
    | Upsert
    | Delete
    | SetPayload
    | Declare
    | Retrieve
    | Scroll
    | SearchEach
    | Count
    | Facet
    | Info
    | Hold
    | Optimize
)
SHARD_REQUESTS: Kinds[ShardRequest] = Kinds(*get_args(ShardRequest))
OPEN_REQUESTS: Kinds[Open] = Kinds(Open)

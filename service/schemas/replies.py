"""The bodies of replies.

Routes write plain dictionaries; these models describe them in OpenAPI, and the client reads replies into
them. A field with a default may be missing.
"""

from typing import Literal

from pydantic import BaseModel, Field, JsonValue

from service.schemas.fields import FieldType

Vector = list[float]


class Timing(BaseModel):
    """Milliseconds a request spent in each stage, and in all."""

    queue: float
    decode: float
    inference: float
    index: float
    total: float


class ModelVersion(BaseModel):
    """The space that vectors are in: the bundle's encoders under a version of the connector."""

    bundle: str
    connector: str


class ItemError(BaseModel):
    """The reason why one item failed."""

    message: str
    type: str
    param: str | None
    code: str


class IndexedItemError(ItemError):
    """The reason why the item at `index` of a batch failed."""

    index: int


class Error(BaseModel):
    """The reason why a request failed; `items` tells of each item that did."""

    message: str
    type: str
    param: str | None
    code: str
    request_id: str
    items: list[IndexedItemError] | None = None


class ErrorReply(BaseModel):
    """The body of every error, whatever its status: OpenAI's shape."""

    error: Error


class EmbeddedItem(BaseModel):
    """One item of `POST /embed`: its vector, if asked for, or its error."""

    index: int
    id: str | None
    modality: str | None
    vector: Vector | None = None
    error: ItemError | None = None


class EmbedReply(BaseModel):
    """The reply of `POST /embed`."""

    items: list[EmbeddedItem]
    model: ModelVersion
    timing_ms: Timing


class PointReply(BaseModel):
    """A stored point."""

    id: str
    modality: str
    mime: str | None = None
    name: str | None = None
    caption: str | None = None
    text: str | None = None
    created: str | None = None
    metadata: dict[str, JsonValue]
    media_url: str | None
    vector: Vector | None = None


class Contribution(BaseModel):
    """The contribution of the `index`-th part of a query to a hit; `share` is its part of the cosine."""

    index: int
    modality: str | None
    weight: float
    cosine: float
    share: float


class SearchHit(PointReply):
    """A stored point that was found. `score` (0 to 1) is calibrated, `cosine` raw."""

    score: float
    cosine: float
    group: JsonValue = Field(None, description="The value of the metadata field that hits are grouped by")
    explain: list[Contribution] | None = None


class SearchReply(BaseModel):
    """The reply of `POST /search`: hits, best first."""

    hits: list[SearchHit]
    timing_ms: Timing


class RankedLabel(BaseModel):
    """A label and the probability that it is the one among those given."""

    label: str
    probability: float
    cosine: float


class ClassifyReply(BaseModel):
    """The reply of `POST /classify`: labels, most probable first."""

    labels: list[RankedLabel]
    timing_ms: Timing


class EmbeddingObject(BaseModel):
    """One vector of `POST /v1/embeddings`: numbers, or their little-endian float32 bytes in base64."""

    object: Literal["embedding"]
    index: int
    embedding: Vector | str


class Usage(BaseModel):
    """Tokens of the texts of a request."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsReply(BaseModel):
    """The reply of `POST /v1/embeddings`."""

    object: Literal["list"]
    data: list[EmbeddingObject]
    model: str
    usage: Usage


class ModelObject(BaseModel):
    """A model as OpenAI's clients list it."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelsReply(BaseModel):
    """The reply of `GET /v1/models`."""

    object: Literal["list"]
    data: list[ModelObject]


class CollectionSummary(BaseModel):
    """A collection: its name, the length of its vectors, its points."""

    name: str
    dim: int
    count: int


class CollectionsReply(BaseModel):
    """The reply of `GET /collections`."""

    collections: list[CollectionSummary]


class CollectionReply(CollectionSummary):
    """A collection, with how far it is indexed; `fields` are the payload fields with an index."""

    connector: str
    indexed: int
    optimizing: bool
    bytes_on_disk: int | None
    fields: dict[str, FieldType]


class CreatedCollectionReply(CollectionReply):
    """The reply of `PUT /collections/{name}`; `created` is false where it was there already."""

    created: bool


class CountReply(BaseModel):
    """The number of points that match."""

    count: int


class FacetValue(BaseModel):
    """A value of a payload field, and the number of points that hold it."""

    value: str | int | bool
    count: int


class FacetsReply(BaseModel):
    """The values of a payload field, most frequent first."""

    field: str
    values: list[FacetValue]


class DeletedCollectionReply(BaseModel):
    """The name of the collection that was deleted."""

    deleted: str


class DeletedPointsReply(BaseModel):
    """The ids of the points that were deleted."""

    deleted: list[str]


class PointsReply(BaseModel):
    """A page of points; `count` of all that match, null where it was not asked for."""

    points: list[PointReply]
    next_cursor: str | None
    count: int | None


class JobProgress(BaseModel):
    """How far a job is: `done` of `total` (null while nobody knows), at `rate` a second."""

    done: int
    total: int | None
    unit: str
    rate: float | None
    eta_seconds: float | None


class JobFault(BaseModel):
    """The reason why one item of a job failed."""

    item: str
    code: str
    message: str


class JobFailure(BaseModel):
    """The reason why a job failed."""

    code: str
    message: str


class IngestJobParams(BaseModel):
    """The parameters of an ingest job; `path` is null where the items were uploaded."""

    source: Literal["folder", "archive", "manifest"]
    name: str
    path: str | None
    sha256: str | None
    collection: str
    metadata: dict[str, JsonValue]
    input: str


class IngestJobResult(BaseModel):
    """The number of items an ingest job stored, found there already, and failed on."""

    stored: int
    unchanged: int
    failed: int


class RefreshJobParams(BaseModel):
    """The parameters of a refresh: the version of the connector that is switched to."""

    version: str


class RefreshJobResult(BaseModel):
    """The outcome of a refresh: the version it switched from, and the number of points of each fate."""

    version: str
    former: str
    points: int
    projected: int
    unchanged: int
    removed: int
    seconds: float


class JobReply(BaseModel):
    """A job. `asked` is what was asked of one that runs and has not come to it yet."""

    id: str
    kind: str
    state: Literal["queued", "running", "paused", "done", "failed", "cancelled"]
    asked: Literal["pause", "cancel"] | None
    params: IngestJobParams | RefreshJobParams
    created: str
    started: str | None
    ended: str | None
    progress: JobProgress
    error_count: int
    errors: list[JobFault]
    failure: JobFailure | None
    result: IngestJobResult | RefreshJobResult | None

    @property
    def has_ended(self) -> bool:
        """Whether nothing more comes of it by itself."""
        return self.state in ("done", "failed", "cancelled")


class JobsReply(BaseModel):
    """The reply of `GET /jobs`: the newest first."""

    jobs: list[JobReply]


class MeasuredFigure(BaseModel):
    """A measured number, its level by chance, and its 95 % interval."""

    value: float
    chance: float | None = None
    low: float | None = None
    high: float | None = None


class Measurement(BaseModel):
    """The figures of one task on one set of data; `counts` are of the items it was measured on."""

    dataset: str
    task: str
    what: str
    vectors: str
    figures: dict[str, MeasuredFigure]
    counts: dict[str, int] = {}


class ConnectorMetrics(BaseModel):
    """The measurements a connector was published with: scores by system, and figures of the trained one."""

    scores: dict[str, float] = {}
    measurements: list[Measurement] = []


class ConnectorReply(BaseModel):
    """A connector in use; `heads` names the projectors of each 'space/modality'."""

    version: str
    method: str
    base: str | None
    dim: int
    heads: dict[str, list[str]]
    created: str
    metrics: ConnectorMetrics
    seed: int | None = None


class ReleaseReply(BaseModel):
    """A set of connectors that together make a unified space."""

    version: str
    origin: str
    active: bool
    former: bool
    calibrated: bool
    created: str | None
    connectors: list[str]


class ConnectorsReply(BaseModel):
    """The reply of `GET /connectors`."""

    active: str
    former: str | None
    bundle: str
    dim: int
    spaces: dict[str, list[str]]
    connectors: list[ConnectorReply]
    available: list[ReleaseReply]


class LiveReply(BaseModel):
    """The reply of `GET /livez`."""

    status: Literal["alive"]


class RefreshProgress(BaseModel):
    """How far the switch to another connector is."""

    job: str
    state: str
    to: str
    done: int
    total: int | None


class ReadyReply(BaseModel):
    """The reply of `GET /readyz`; only `status` and `refresh` while the service is loading or draining."""

    status: str
    bundle: str | None = None
    connector: str | None = None
    modalities: list[str] | None = None
    encoders: dict[str, str] | None = None
    decoders: str | None = None
    index: str | None = None
    refresh: RefreshProgress | None

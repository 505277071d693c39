"""The bodies of replies.

Routes write plain dictionaries; these models describe them in OpenAPI, and the client reads replies into
them. A field with a default may be missing.
"""

from typing import Literal

from pydantic import BaseModel, Field, JsonValue

from service.schemas.fields import FieldType, StoredStatus

Vector = list[float]


class Timing(BaseModel):
    """Milliseconds a request spent in each stage, and in total."""

    queue: float
    decode: float
    inference: float
    index: float
    total: float


class ModelVersion(BaseModel):
    """The space of vectors: the bundle's encoders under a version of the connector."""

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
    """The reason why a request failed; `items` has one for each failed item."""

    message: str
    type: str
    param: str | None
    code: str
    request_id: str
    items: list[IndexedItemError] | None = None


class ErrorReply(BaseModel):
    """The body of every error, whatever its status: OpenAI's shape."""

    error: Error


class Truncated(BaseModel):
    """The tokens of a text that its encoder read (`used`), of all those `given`; the rest was left out."""

    used: int
    given: int


class TextLimits(BaseModel):
    """The part of a text that an encoder did not read or know; both are missing where it did."""

    truncated: Truncated | None = Field(None, description="Missing where nothing was lost")
    understood: bool | None = Field(None, description="False where the encoder knows no word of it")


class QueryWarning(TextLimits):
    """The limits of an encoder that a text of the request met; `param` names the text."""

    param: str


class EmbeddedItem(TextLimits):
    """One item of `POST /embed`: its vector, if asked for, or its error."""

    index: int
    id: str | None
    modality: str | None
    status: StoredStatus | None = Field(
        None, description="What became of it, where it was to be stored and nothing failed"
    )
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
    warnings: list[QueryWarning] | None = None
    timing_ms: Timing


class RankedLabel(BaseModel):
    """A label and the probability that it is the right one of those given."""

    label: str
    probability: float
    cosine: float


class ClassifyReply(BaseModel):
    """The reply of `POST /classify`: labels, most probable first."""

    labels: list[RankedLabel]
    warnings: list[QueryWarning] | None = None
    timing_ms: Timing


class EmbeddingObject(TextLimits):
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
    """A collection and the state of its index; `fields` are the payload fields with an index."""

    connector: str
    indexed: int
    optimizing: bool
    bytes_on_disk: int | None
    fields: dict[str, FieldType]


class CreatedCollectionReply(CollectionReply):
    """The reply of `PUT /collections/{name}`; `created` is false where it was there already.

    `unfit` counts, for each field that this request declared, the points whose value is not of its type.
    """

    created: bool
    unfit: dict[str, int]


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
    """A page of points, and the `count` of all that match, null where it was not asked for."""

    points: list[PointReply]
    next_cursor: str | None
    count: int | None


class LiveReply(BaseModel):
    """The reply of `GET /livez`."""

    status: Literal["alive"]


class RefreshProgress(BaseModel):
    """The progress of a switch to another connector."""

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

"""The JSON bodies that operations take, as OpenAPI shows them.

A piece of media is one field of `MediaFields`: text as it is, everything else in base64 or as a data: URI.
"""

import binascii
from typing import Annotated, Any, Literal

import pybase64
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, model_validator
from pydantic_core import to_json

from connectors.errors import ConfigError, InvalidMedia, UnsupportedMedia
from connectors.modality import MODALITIES, Modality
from service.engine.media_input import MediaInput
from service.index.payload import check_payload
from service.index.protocol import FieldType

COLLECTION = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$"
DEFAULT_COLLECTION = "default"
Collection = Annotated[str, Field(pattern=COLLECTION, description="Name of the collection")]
PointId = Annotated[str, Field(min_length=1, max_length=512)]
MAX_METADATA_BYTES = 64 * 1024


def _storable(metadata: dict[str, JsonValue]) -> dict[str, JsonValue]:
    try:
        check_payload({"metadata": metadata}, "it")
    except ConfigError as error:
        raise ValueError(error.message) from error
    size = len(to_json(metadata))
    if size > MAX_METADATA_BYTES:
        raise ValueError(f"it has {size:,} bytes as JSON; the limit is {MAX_METADATA_BYTES:,}")
    return metadata


Metadata = Annotated[dict[str, JsonValue], AfterValidator(_storable)]


class Body(BaseModel):
    """A body that takes no fields but its own, so that a misspelt one is an error and not silence."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class MediaFields(Body):
    """One piece of media."""

    text: str | None = Field(None, description="A text, as it is", examples=["a dog barks"])
    image: str | None = Field(None, description="An image file, in base64 or as a data: URI")
    audio: str | None = Field(None, description="A sound file, in base64 or as a data: URI")
    point_cloud: str | None = Field(None, description="A cloud or mesh file, in base64 or as a data: URI")

    def modality(self) -> Modality | None:
        """The field that is set, or None."""
        return next((m for m in MODALITIES if getattr(self, m) is not None), None)

    def written(self) -> str | None:
        """The media as the body has it, or None."""
        modality = self.modality()
        return None if modality is None else getattr(self, modality)

    def media_input(self, name: str) -> MediaInput | InvalidMedia | UnsupportedMedia:
        """The media as the engine takes it, or what is wrong with how it is written."""
        modality, value = self.modality(), self.written()
        assert modality is not None and value is not None  # every use has validated that there is one
        if modality == "text":
            return MediaInput.text(value, name)
        try:
            data, content_type = decode_base64(value, name)
        except (InvalidMedia, UnsupportedMedia) as error:
            return error
        return MediaInput(data, len(data), name, content_type, modality)


class OneMedia(MediaFields):
    """Exactly one piece of media."""

    @model_validator(mode="after")
    def _exactly_one(self) -> "OneMedia":
        _check_one(self, [*MODALITIES])
        return self


class EmbedItem(OneMedia):
    """One item to embed."""

    id: PointId | None = Field(None, description="Its id; the sha256 of its content if left out")
    metadata: Metadata | None = Field(None, description="Kept with it, filtered by, given back")


class EmbedOptions(Body):
    """What to do with what `POST /embed` is given."""

    store: bool = Field(True, description="Index the items, and keep their media")
    return_vectors: bool = False
    collection: Collection = DEFAULT_COLLECTION


class EmbedBody(EmbedOptions):
    """What `POST /embed` takes as JSON."""

    items: list[EmbedItem]


class QueryItem(MediaFields):
    """One part of a query: media, a stored point, or a vector of the unified space."""

    id: PointId | None = Field(None, description="A stored point")
    vector: list[float] | None = Field(None, description="A vector of the unified space")
    weight: float = Field(1.0, ge=-1e6, le=1e6, description="Its share; negative to steer away from it")

    @model_validator(mode="after")
    def _exactly_one(self) -> "QueryItem":
        _check_one(self, [*MODALITIES, "id", "vector"])
        return self


Quota = Annotated[int, Field(ge=1)] | dict[Modality, Annotated[int, Field(ge=1)]]


class SearchParams(Body):
    """How to search: everything in `POST /search` but the query itself."""

    target_modalities: list[Modality] | None = Field(None, min_length=1, description="All if left out")
    limit: int = Field(10, ge=1, description="Most hits")
    offset: int = Field(0, ge=0, description="Hits to leave out at the top")
    filter: dict[str, Any] | None = Field(None, description="In Qdrant's grammar, over `metadata.*`")
    score_threshold: float | None = Field(None, description="Least score, 0 to 1")
    group_by: str | None = Field(None, description="A field whose every value has one hit, its best")
    quota: Quota | None = Field(
        None, description="Most hits of each modality, or of those named", examples=[{"image": 3, "audio": 2}]
    )
    dedupe: float | None = Field(
        None,
        ge=-1,
        le=1,
        description="Leave out hits whose cosine to a better one of their modality is this much; try 0.98",
    )
    diversity: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Order the best 200 by maximal marginal relevance: 0 is score alone, 1 difference alone",
    )
    explain: bool = Field(False, description="Tell what each part of the query gave each hit")
    collection: Collection = DEFAULT_COLLECTION
    with_vectors: bool = False


class SearchBody(SearchParams):
    """What `POST /search` takes as JSON."""

    query: list[QueryItem] = Field(min_length=1, max_length=64)


class FormSearchParams(SearchParams):
    """The `params` field of a multipart `POST /search`."""

    query: list[QueryItem] = Field([], max_length=64, description="More parts, after the files and texts")
    weights: list[float] | None = Field(None, description="Of the files, then the texts; 1 each if left out")


class ClassifyItem(MediaFields):
    """What to classify: media or a stored point."""

    id: PointId | None = Field(None, description="A stored point")

    @model_validator(mode="after")
    def _exactly_one(self) -> "ClassifyItem":
        _check_one(self, [*MODALITIES, "id"])
        return self


class ClassifyBody(Body):
    """What `POST /classify` takes."""

    item: ClassifyItem
    labels: list[str] = Field(min_length=1, max_length=1000)
    template: str | None = Field(
        None, description="Made into each label's text; `{}` stands for the label", examples=["a photo of {}"]
    )
    collection: Collection = DEFAULT_COLLECTION


class CollectionBody(Body):
    """What `PUT /collections/{name}` takes, if anything."""

    fields: dict[str, FieldType] = Field(
        {},
        description="Payload fields to index, and what they hold: filters on them get fast, facets possible",
        max_length=64,
        examples=[{"metadata.album": "keyword", "metadata.year": "integer"}],
    )


class PatchBody(Body):
    """What `PATCH /points/{id}` changes."""

    metadata: Metadata | None = Field(None, description="Replaces the metadata")
    caption: str | None = Field(None, max_length=20_000, description="Replaces the caption")

    @model_validator(mode="after")
    def _something(self) -> "PatchBody":
        if not self.model_fields_set:
            raise ValueError("give metadata or caption")
        return self


class IngestFields(Body):
    """Where what is ingested goes."""

    collection: Collection = DEFAULT_COLLECTION


class IngestBody(IngestFields):
    """What `POST /jobs/ingest` takes as JSON: one path on the service's machine."""

    folder: str | None = Field(None, description="Every file in it and below")
    archive: str | None = Field(None, description="Every file in a zip, tar or tar.gz")
    manifest: str | None = Field(None, description="What a file of JSON lines names")
    metadata: Metadata | None = Field(None, description="Goes with every item")

    @model_validator(mode="after")
    def _exactly_one(self) -> "IngestBody":
        _check_one(self, ["folder", "archive", "manifest"])
        return self

    def source(self) -> tuple[Literal["folder", "archive", "manifest"], str]:
        """Which kind of path is given, and the path."""
        if self.folder is not None:
            return "folder", self.folder
        if self.archive is not None:
            return "archive", self.archive
        assert self.manifest is not None  # validated: one of the three is given
        return "manifest", self.manifest


class EmbeddingsBody(BaseModel):
    """What `POST /v1/embeddings` takes: OpenAI's fields, with typed objects for media among the inputs."""

    model_config = ConfigDict(allow_inf_nan=False)

    input: str | list[str | OneMedia] | OneMedia
    model: str = "isthmus"
    dimensions: int | None = Field(None, ge=1, description="Keep the first ones, normalised again")
    encoding_format: Literal["float", "base64"] = "float"
    user: str | None = None


def decode_base64(value: str, name: str) -> tuple[bytes, str | None]:
    """The bytes of base64 or of a data: URI, and the URI's content type.

    Raises `InvalidMedia` or `UnsupportedMedia`.
    """
    content_type = None
    if value[:5].lower() == "data:":
        header, comma, value = value.partition(",")
        if not comma or not header.lower().endswith(";base64"):
            raise UnsupportedMedia(f"{name} is a data: URI that is not in base64")
        content_type = header[5:-7] or None
    elif value[:8].lower().startswith(("http://", "https://")):
        raise UnsupportedMedia(f"{name} is a URL; the service fetches nothing: send the file in base64")
    try:
        return pybase64.b64decode(value, validate=True), content_type
    except (binascii.Error, ValueError) as error:
        raise InvalidMedia(f"{name} is not base64: {error}") from error


def _check_one(body: BaseModel, names: list[str]) -> None:
    given = [name for name in names if getattr(body, name) is not None]
    if len(given) != 1:
        raise ValueError(f"give exactly one of {', '.join(names)}; got {', '.join(given) or 'none'}")

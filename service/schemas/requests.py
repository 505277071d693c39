"""The bodies of requests.

A piece of media is one field of `MediaFields`: text as it is, everything else in base64 or as a data: URI.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model, model_validator

from service.schemas.fields import (
    DEFAULT_COLLECTION,
    MEDIA_FIELDS,
    Collection,
    FieldType,
    Metadata,
    ModalityName,
    PointId,
)


class Body(BaseModel):
    """A body that takes no other fields, so that a misspelt one is an error and not ignored."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class MediaBody(Body):
    """A body that holds one piece of media, in the field named like its modality."""

    def media(self) -> tuple[str, str] | None:
        """Return the modality and the media as it is in the body, or None where there is none."""
        for modality in MEDIA_FIELDS:
            if (value := getattr(self, modality)) is not None:
                return modality, value
        return None


MediaFields: type[MediaBody] = create_model(  # type: ignore[call-overload]
    "MediaFields",
    __base__=MediaBody,
    **{name: (str | None, Field(None, description=text)) for name, text in MEDIA_FIELDS.items()},
)


class OneMedia(MediaFields):
    """Exactly one piece of media."""

    @model_validator(mode="after")
    def _exactly_one(self) -> "OneMedia":
        _check_one(self, [*MEDIA_FIELDS])
        return self


class EmbedItem(OneMedia):
    """One item to embed."""

    id: PointId | None = Field(None, description="Its id; the sha256 of its content if left out")
    metadata: Metadata | None = Field(None, description="Stored with it, for filters, and returned with it")


class EmbedOptions(Body):
    """The options of `POST /embed`."""

    store: bool = Field(True, description="Index the items, and keep their media")
    return_vectors: bool = False
    collection: Collection = DEFAULT_COLLECTION


class EmbedBody(EmbedOptions):
    """The JSON body of `POST /embed`."""

    items: list[EmbedItem]


class QueryItem(MediaFields):
    """One part of a query: media, a stored point, or a vector of the unified space."""

    id: PointId | None = Field(None, description="A stored point")
    vector: list[float] | None = Field(None, description="A vector of the unified space")
    weight: float = Field(1.0, ge=-1e6, le=1e6, description="Its share; negative to steer away from it")

    @model_validator(mode="after")
    def _exactly_one(self) -> "QueryItem":
        _check_one(self, [*MEDIA_FIELDS, "id", "vector"])
        return self


Quota = Annotated[int, Field(ge=1)] | dict[str, Annotated[int, Field(ge=1)]]


class SearchParams(Body):
    """The parameters of a search: everything in `POST /search` but the query itself."""

    target_modalities: list[ModalityName] | None = Field(None, min_length=1, description="All if left out")
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
    explain: bool = Field(False, description="Return each query part's contribution to each hit")
    collection: Collection = DEFAULT_COLLECTION
    with_vectors: bool = False


class SearchBody(SearchParams):
    """The JSON body of `POST /search`."""

    query: list[QueryItem] = Field(min_length=1, max_length=64)


class FormSearchParams(SearchParams):
    """The `params` field of a multipart `POST /search`."""

    query: list[QueryItem] = Field([], max_length=64, description="More parts, after the files and texts")
    weights: list[float] | None = Field(None, description="Of the files, then the texts; 1 each if left out")


class ClassifyItem(MediaFields):
    """An item to classify: media or a stored point."""

    id: PointId | None = Field(None, description="A stored point")

    @model_validator(mode="after")
    def _exactly_one(self) -> "ClassifyItem":
        _check_one(self, [*MEDIA_FIELDS, "id"])
        return self


class ClassifyBody(Body):
    """The body of `POST /classify`."""

    item: ClassifyItem
    labels: list[str] = Field(min_length=1, max_length=1000)
    template: str | None = Field(
        None, description="Made into each label's text; `{}` stands for the label", examples=["a photo of {}"]
    )
    collection: Collection = DEFAULT_COLLECTION


class CollectionBody(Body):
    """The body of `PUT /collections/{name}`, which may be left out."""

    fields: dict[str, FieldType] = Field(
        {},
        description="Payload fields to index, and what they hold: filters on them get fast, facets possible",
        max_length=64,
        examples=[{"metadata.album": "keyword", "metadata.year": "integer"}],
    )


class PatchBody(Body):
    """The body of `PATCH /points/{id}`."""

    metadata: Metadata | None = Field(None, description="Replaces the metadata")
    caption: str | None = Field(None, max_length=20_000, description="Replaces the caption")

    @model_validator(mode="after")
    def _something(self) -> "PatchBody":
        if not self.model_fields_set:
            raise ValueError("give metadata or caption")
        return self


class IngestFields(Body):
    """The options of `POST /jobs/ingest`."""

    collection: Collection = DEFAULT_COLLECTION


class IngestBody(IngestFields):
    """The JSON body of `POST /jobs/ingest`: one path on the service's machine."""

    folder: str | None = Field(None, description="Every file in it and below")
    archive: str | None = Field(None, description="Every file in a zip, tar or tar.gz")
    manifest: str | None = Field(None, description="What a file of JSON lines names")
    metadata: Metadata | None = Field(None, description="Goes with every item")

    @model_validator(mode="after")
    def _exactly_one(self) -> "IngestBody":
        _check_one(self, ["folder", "archive", "manifest"])
        return self

    def source(self) -> tuple[Literal["folder", "archive", "manifest"], str]:
        """Return the kind of the path given, and the path."""
        if self.folder is not None:
            return "folder", self.folder
        if self.archive is not None:
            return "archive", self.archive
        assert self.manifest is not None  # validated: one of the three is given
        return "manifest", self.manifest


class EmbeddingsBody(BaseModel):
    """The body of `POST /v1/embeddings`: OpenAI's fields, with typed objects for media among the inputs."""

    model_config = ConfigDict(allow_inf_nan=False)

    input: str | list[str | OneMedia] | OneMedia
    model: str = "isthmus"
    dimensions: int | None = Field(None, ge=1, description="Keep the first ones, normalised again")
    encoding_format: Literal["float", "base64"] = "float"
    user: str | None = None


def _check_one(body: BaseModel, names: list[str]) -> None:
    given = [name for name in names if getattr(body, name) is not None]
    if len(given) != 1:
        raise ValueError(f"give exactly one of {', '.join(names)}; got {', '.join(given) or 'none'}")

"""The bodies of requests.

A piece of media is one field of `MediaFields`: text as it is, everything else in base64 or as a data: URI.
Where media are listed a string stands for a text, and one piece for a list of it.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, create_model, model_validator

from service.schemas.fields import (
    DEFAULT_COLLECTION,
    MEDIA_FIELDS,
    Collection,
    FieldType,
    Metadata,
    ModalityName,
    PointId,
)

ANY_MODEL = "isthmus"
"""The name by which every bundle is served to OpenAI's clients, beside its own."""


class Body(BaseModel):
    """A body that takes no other fields, so that a misspelt one is an error and not ignored."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    ADVICE: ClassVar[Mapping[str, str]] = {}
    """For fields that people write at the top of it, though they belong elsewhere: where they go."""


def _place(names: Iterable[str], place: str) -> dict[str, str]:
    """Return the advice to write each of these fields as `place` shows it, the field being `NAME` in it."""
    return {name: f"write it as {place.replace('NAME', name)}" for name in names}


def _parts(given: Any) -> Any:
    """Return a list of media as it is meant: a string is a text, and one part a list of it."""
    parts = [given] if isinstance(given, str | dict) else given
    if not isinstance(parts, list):
        return given
    return [{"text": each} if isinstance(each, str) else each for each in parts]


def _inputs(given: Any) -> Any:
    """Return OpenAI's `input` as `_parts` does. Raises `ValueError` for token ids."""
    parts = given if isinstance(given, list) else [given]
    if any(isinstance(each, int | float | list) for each in parts):
        raise ValueError(
            "it holds token ids, which stand for other words in every vocabulary: send the texts themselves, "
            "as LangChain's OpenAIEmbeddings does with check_embedding_ctx_length=False"
        )
    return _parts(given)


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


Truncate = Annotated[
    bool, Field(description="Cut a text that is longer than the encoder reads; if false, refuse it")
]


class EmbedOptions(Body):
    """The options of `POST /embed`."""

    store: bool = Field(True, description="Index the items, and keep their media")
    store_not_understood: bool = Field(
        False, description="Store texts of which the encoder knows no word, too"
    )
    truncate: Truncate = True
    return_vectors: bool = False
    collection: Collection = DEFAULT_COLLECTION


class EmbedBody(EmbedOptions):
    """The JSON body of `POST /embed`."""

    ADVICE = _place(MEDIA_FIELDS, '{"items": [{"NAME": ...}]}')

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


QueryParts = Annotated[
    list[QueryItem],
    BeforeValidator(_parts, json_schema_input_type=str | QueryItem | list[str | QueryItem]),
]
Inputs = Annotated[
    list[OneMedia],
    BeforeValidator(_inputs, json_schema_input_type=str | OneMedia | list[str | OneMedia]),
]
Quota = Annotated[int, Field(ge=1)] | dict[str, Annotated[int, Field(ge=1)]]


class SearchParams(Body):
    """The parameters of a search: everything in `POST /search` but the query itself."""

    ADVICE = _place([*MEDIA_FIELDS, "id", "vector"], '{"query": [{"NAME": ...}]}')

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

    query: QueryParts = Field(
        min_length=1, max_length=64, description="Its parts; a string is a text, and one part needs no list"
    )


class FormSearchParams(SearchParams):
    """The `params` field of a multipart `POST /search`."""

    query: QueryParts = Field([], max_length=64, description="More parts, after the files and texts")
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

    ADVICE = _place([*MEDIA_FIELDS, "id"], '{"item": {"NAME": ...}}')

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


class EmbeddingsBody(Body):
    """The body of `POST /v1/embeddings`: OpenAI's fields, with typed objects for media among the inputs."""

    ADVICE = _place(MEDIA_FIELDS, '{"input": [{"NAME": ...}]}')

    input: Inputs
    model: str = Field(ANY_MODEL, description=f"The bundle's name, or {ANY_MODEL} for whichever it is")
    dimensions: int | None = Field(None, ge=1, description="Keep the first ones, normalised again")
    encoding_format: Literal["float", "base64"] = "float"
    truncate: Truncate = True
    user: str | None = Field(None, description="OpenAI's; nothing is done with it")


def _check_one(body: BaseModel, names: list[str]) -> None:
    given = [name for name in names if getattr(body, name) is not None]
    if len(given) != 1:
        raise ValueError(f"give exactly one of {', '.join(names)}; got {', '.join(given) or 'none'}")

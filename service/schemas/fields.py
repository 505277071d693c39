"""Fields that several bodies share: names, ids, metadata, modalities, and the media fields of a body."""

import unicodedata
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, JsonValue
from pydantic_core import to_json

from connectors.errors import ConfigError
from service.schemas.validation import check_json

DEFAULT_COLLECTION = "default"
COLLECTION_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$"
MAX_METADATA_BYTES = 64 * 1024
MEDIA_FIELDS: Mapping[str, str] = {
    "text": "A text, as it is",
    "image": "An image file, in base64 or as a data: URI",
    "audio": "A sound file, in base64 or as a data: URI",
    "point_cloud": "A cloud or mesh file, in base64 or as a data: URI",
}
"""The modalities a body may hold media of: the field of each, named like it, and its description."""


def _storable(metadata: dict[str, JsonValue]) -> dict[str, JsonValue]:
    try:
        check_json(metadata, "it: metadata")
    except ConfigError as error:
        raise ValueError(error.message) from error
    size = len(to_json(metadata))
    if size > MAX_METADATA_BYTES:
        raise ValueError(f"it has {size:,} bytes as JSON; the limit is {MAX_METADATA_BYTES:,}")
    return metadata


def _addressable(point_id: str) -> str:
    """Give back an id by which its point can be reached over HTTP. Raises `ValueError` for any other.

    Line breaks and other control characters end a path, or are stripped from it, on the way; `.` and `..` are
    steps in it.
    """
    for character in point_id:
        if unicodedata.category(character) in ("Cc", "Zl", "Zp"):
            raise ValueError(f"an id has no control characters; this one has U+{ord(character):04X}")
    if point_id in (".", ".."):
        raise ValueError(f"{point_id!r} cannot be an id: in a URL it is a step to another path")
    return point_id


Collection = Annotated[str, Field(pattern=COLLECTION_NAME, description="Name of the collection")]
PointId = Annotated[str, Field(min_length=1, max_length=512), AfterValidator(_addressable)]
ModalityName = Annotated[
    str,
    Field(
        pattern=r"^[a-z][a-z0-9_]{0,31}$",
        description="One that the bundle embeds, as GET /readyz lists them",
        examples=[*MEDIA_FIELDS],
    ),
]
Metadata = Annotated[dict[str, JsonValue], AfterValidator(_storable)]
StoredStatus = Literal["stored", "unchanged", "updated", "not_stored"]
"""The outcome for an item to be stored: it is new, all of it was there, its point changed, or it is a text of
which no word is known, which is stored only if asked for."""
FieldType = Literal["keyword", "integer", "float", "bool", "datetime", "geo"]
"""The type of a payload field, for its index."""

"""The JSON of replies, written by pydantic's serialiser, which is fast on vectors.

`service.schemas.replies` describes it. Replies are plain dictionaries, which nothing validates again.
"""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from pydantic_core import to_json
from starlette.responses import Response

from connectors.errors import IsthmusError
from connectors.space import UnifiedSpace
from service.engine.embedding import Vectors
from service.http.error_replies import item_body
from service.index.protocol import StoredPoint
from service.pipeline import EmbedInput, Outcome
from service.schemas.fields import DEFAULT_COLLECTION, StoredStatus

WRITTEN_AT_ONCE = 32
"""Most vectors written on the event loop: a millisecond's work. More are written on a thread."""
SHOWN_FIELDS = ("mime", "name", "caption", "text", "created")
"""Payload fields that are shown where a point has them."""


class JsonReply(Response):
    """A JSON reply. Its content has lists in place of NumPy vectors."""

    media_type = "application/json"

    def __init__(
        self, content: Any, status_code: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(content, status_code, headers)

    def render(self, content: Any) -> bytes:
        """Write the content as UTF-8 JSON; infinities become null. Bytes are JSON already."""
        return content if isinstance(content, bytes) else written(content)


def written(content: Any) -> bytes:
    """Return the content as UTF-8 JSON; infinities become null."""
    return to_json(content, inf_nan_mode="null")


async def list_reply(name: str, items: Iterable[Any], count: int, rest: Mapping[str, Any]) -> JsonReply:
    """Return the reply `{name: [items], **rest}`; `rest` is not empty, the `count` items may have vectors.

    Many are written on a thread, one by one: writing holds the interpreter lock, and all in one go would keep
    every other request waiting.
    """

    def joined() -> bytes:
        return b",".join(map(written, items))

    listed = joined() if count <= WRITTEN_AT_ONCE else await asyncio.to_thread(joined)
    return JsonReply(b"{" + written(name) + b":[" + listed + b"]," + written(rest)[1:])


def item_reply(
    index: int, item: EmbedInput, outcome: Outcome, with_vector: bool, status: StoredStatus | None = None
) -> dict[str, Any]:
    """Return an `EmbeddedItem`; `status` is what storing it came to, None where it was not asked for."""
    if isinstance(outcome, IsthmusError):
        error = item_body(outcome, f"items[{index}]")
        return {"index": index, "id": item.id, "modality": None, "error": error}
    reply: dict[str, Any] = {
        "index": index,
        "id": item.id or outcome.sha256,
        "modality": outcome.modality,
        **text_limits(outcome.vectors),
    }
    if status is not None:
        reply["status"] = status
    if with_vector:
        reply["vector"] = outcome.vectors.unified.tolist()
    return reply


def text_limits(vectors: Vectors) -> dict[str, Any]:
    """Return the fields of a `TextLimits` that there is something to say in."""
    limits: dict[str, Any] = {}
    if vectors.given is not None:
        limits["truncated"] = {"used": vectors.tokens, "given": vectors.given}
    if not vectors.understood:
        limits["understood"] = False
    return limits


def warnings_reply(embedded: Iterable[tuple[str, Vectors]]) -> dict[str, Any]:
    """Return the field `warnings` of a reply, or none; `embedded` has each vector's place in the request."""
    warnings = [{"param": param, **limits} for param, each in embedded if (limits := text_limits(each))]
    return {"warnings": warnings} if warnings else {}


def model_reply(space: UnifiedSpace) -> dict[str, str]:
    """Return a `ModelVersion`: the space that a reply's vectors are in."""
    return {"bundle": space.name, "connector": space.connector_version}


def point_reply(point: StoredPoint, collection: str, with_vectors: bool = False) -> dict[str, Any]:
    """Return a `PointReply`, with its unified vector if asked for."""
    reply: dict[str, Any] = {"id": point.id, "modality": point.modality}
    reply |= {field: point.payload[field] for field in SHOWN_FIELDS if point.payload.get(field) is not None}
    reply["metadata"] = point.payload.get("metadata") or {}
    reply["media_url"] = media_url(point.id, collection) if point.payload.get("media") else None
    if with_vectors and point.unified is not None:
        reply["vector"] = point.unified.tolist()
    return reply


def media_url(point_id: str, collection: str) -> str:
    """Return the path at which a point's media is served."""
    url = f"/media/{quote(point_id, safe='')}"
    return url if collection == DEFAULT_COLLECTION else f"{url}?collection={quote(collection)}"

"""How replies show a stored point."""

from typing import Any
from urllib.parse import quote

from service.bodies import DEFAULT_COLLECTION
from service.index.protocol import StoredPoint

SHOWN = ("mime", "name", "caption", "text", "created")
"""Payload fields that are shown where a point has them."""


def media_url(point_id: str, collection: str) -> str:
    """Where a point's media is served."""
    url = f"/media/{quote(point_id, safe='')}"
    return url if collection == DEFAULT_COLLECTION else f"{url}?collection={quote(collection)}"


def point_reply(point: StoredPoint, collection: str, with_vectors: bool = False) -> dict[str, Any]:
    """A point: id, modality, what its payload shows, and its unified vector if asked for."""
    reply: dict[str, Any] = {"id": point.id, "modality": point.modality}
    reply |= {field: point.payload[field] for field in SHOWN if point.payload.get(field) is not None}
    reply["metadata"] = point.payload.get("metadata") or {}
    reply["media_url"] = media_url(point.id, collection) if point.payload.get("media") else None
    if with_vectors and point.unified is not None:
        reply["vector"] = point.unified.tolist()
    return reply

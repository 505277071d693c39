"""`GET /media/{id}`: the original bytes of a stored point, or a thumbnail of its image."""

import io
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Query
from PIL.Image import Image
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from service.errors import InvalidRequest, NotFound
from service.http.dependencies import Call, Loaded
from service.http.openapi import ERROR_REPLIES
from service.http.routes.points import InCollection, find_point
from service.index.protocol import StoredPoint
from service.schemas.fields import DEFAULT_COLLECTION

T = TypeVar("T")

router = APIRouter(tags=["points"])

LARGEST_THUMBNAIL = 1024
BINARY = {"schema": {"type": "string", "format": "binary"}}
INLINE = ("image/", "audio/", "video/", "text/plain")
"""Types that browsers may show themselves; the rest is downloaded."""
SAFE_HEADERS = {
    "x-content-type-options": "nosniff",
    # A user's upload never runs in this origin, whatever a browser takes it for.
    "content-security-policy": "sandbox; default-src 'none'; media-src 'self'; img-src 'self'",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "private, no-cache",
}


@router.head("/media/{id:path}", include_in_schema=False)
@router.get(
    "/media/{id:path}",
    summary="Get a point's media",
    response_class=Response,
    responses={
        200: {
            "description": "The file as it was sent",
            "content": {"image/jpeg": BINARY, "audio/wav": BINARY},
        },
        206: {"description": "The range that was asked for"},
        304: {"description": "The client's copy is current"},
        **ERROR_REPLIES,
    },
)
async def get_media(
    request: Request,
    call: Loaded,
    id: str,  # noqa: A002
    size: Annotated[
        int | None,
        Query(ge=16, le=LARGEST_THUMBNAIL, description="Longer side of a JPEG thumbnail", examples=[256]),
    ] = None,
    collection: InCollection = DEFAULT_COLLECTION,
) -> Response:
    """Return the original bytes, of their own content type, in ranges if asked; `?size=` shrinks an image."""
    media = call.pipeline.media
    point = await find_point(call, collection, id)
    key = point.payload.get("media")
    if not key:
        raise NotFound(f"point {id[:200]!r} has no media", "id")
    etag = f'"{point.payload["sha256"]}{"" if size is None else f"-{size}"}"'
    headers = {**SAFE_HEADERS, "etag": etag}
    if etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    mime = point.payload.get("mime") or "application/octet-stream"
    if size is None:
        path = await call.index(partial(media.path, key))
        disposition = "inline" if mime.startswith(INLINE) else "attachment"
        shown = "text/plain; charset=utf-8" if mime == "text/plain" else mime
        return FileResponse(
            path,
            headers=headers,
            media_type=shown,
            filename=point.payload.get("name") or None,
            content_disposition_type=disposition,
        )
    if point.modality != "image":
        raise InvalidRequest(
            f"point {id[:200]!r} is of {point.modality}; only images have thumbnails", "size"
        )

    picture = await call.index(partial(media.thumbnail, key, size))
    if picture is None:
        path = await call.index(partial(media.path, key))
        picture = await draw_point(call, point, path, partial(thumbnail, size=size))
        await call.index(partial(media.keep_thumbnail, key, size, picture))
    return Response(picture, headers=headers, media_type="image/jpeg")


async def draw_point(call: Call, point: StoredPoint, path: Path, draw: Callable[[Any], T]) -> T:
    """Return what `draw` makes of a stored point's decoded media, as long as the client waits for it."""
    name, size = point.payload.get("name") or "", path.stat().st_size
    engine = call.pipeline.engine
    work = engine.draw(point.modality, path.read_bytes, name, draw, size, call.seconds_left())
    return await call.within_deadline(work)


def thumbnail(image: Image, size: int) -> bytes:
    """Return a JPEG of an RGB image whose longer side is at most `size`."""
    small = image.copy()
    small.thumbnail((size, size))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()

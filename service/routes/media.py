"""`GET /media/{id}`: the original bytes of a stored point, or a thumbnail of its image."""

import io
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query
from PIL.Image import Image
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from connectors.media import decode
from service.bodies import DEFAULT_COLLECTION
from service.errors import InvalidRequest, NotFound
from service.request_context import context_of
from service.routes.points import InCollection, find_point
from service.runtime import runtime_of

router = APIRouter(tags=["points"])

LARGEST_THUMBNAIL = 1024
INLINE = ("image/", "audio/", "video/", "text/plain")
"""What browsers may show by themselves; the rest is downloaded."""
SAFE_HEADERS = {
    "x-content-type-options": "nosniff",
    # What a user uploaded never runs in this origin, whatever a browser takes it for.
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
        200: {"description": "The file as it was sent", "content": {"image/jpeg": {}, "audio/wav": {}}},
        206: {"description": "The range that was asked for"},
        304: {"description": "The client's copy is current"},
    },
)
async def get_media(
    request: Request,
    id: str,  # noqa: A002
    size: Annotated[
        int | None,
        Query(ge=16, le=LARGEST_THUMBNAIL, description="Longer side of a JPEG thumbnail", examples=[256]),
    ] = None,
    collection: InCollection = DEFAULT_COLLECTION,
) -> Response:
    """The original bytes, under their own content type, in ranges if asked for; `?size=` shrinks an image."""
    runtime, context = runtime_of(request), context_of(request)
    point = await find_point(runtime, request, collection, id)
    key = point.payload.get("media")
    if not key:
        raise NotFound(f"point {id[:200]!r} has no media", "id")
    etag = f'"{point.payload["sha256"]}{"" if size is None else f"-{size}"}"'
    headers = {**SAFE_HEADERS, "etag": etag}
    if etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    path = await runtime.call_index(context, partial(runtime.media.path, key))
    mime = point.payload.get("mime") or "application/octet-stream"
    if size is None:
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

    def shrink() -> bytes:
        return thumbnail(decode("image", path.read_bytes(), name=point.payload.get("name")), size)

    picture = await runtime.call_index(context, partial(runtime.media.thumbnail, key, size))
    if picture is None:
        picture = await runtime.engine.run(shrink)
        await runtime.call_index(context, partial(runtime.media.keep_thumbnail, key, size, picture))
    return Response(picture, headers=headers, media_type="image/jpeg")


def thumbnail(image: Image, size: int) -> bytes:
    """A JPEG of an RGB image whose longer side is at most `size`."""
    small = image.copy()
    small.thumbnail((size, size))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()

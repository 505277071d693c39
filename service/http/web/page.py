"""`GET /`, the page's files, and the points of a stored cloud for it to draw.

The page's files are read once. Their address carries a hash of them all, so that browsers may keep them for
ever and still see a new version immediately; the page itself is checked on every visit.
"""

import hashlib
from functools import lru_cache, partial
from pathlib import Path
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from connectors.modality import Points
from service.errors import InvalidRequest, NotFound
from service.http.dependencies import Ready
from service.http.routes.media import draw_point
from service.http.routes.points import InCollection, find_point
from service.schemas.fields import DEFAULT_COLLECTION

router = APIRouter(include_in_schema=False)

STATIC = Path(__file__).parent / "static"
TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", ".html": "text/html"}
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "permissions-policy": "camera=(), geolocation=(), microphone=(self)",
}
FOR_EVER = "public, max-age=31536000, immutable"


@lru_cache(maxsize=1)
def assets() -> tuple[str, dict[str, bytes]]:
    """Return the hash of the page's files, and their contents by name."""
    files = {path.name: path.read_bytes() for path in sorted(STATIC.iterdir()) if path.suffix in TYPES}
    digest = hashlib.sha256()
    for name, data in files.items():
        digest.update(f"{name} {len(data)}\n".encode() + data)
    return digest.hexdigest()[:16], files


@router.api_route("/", methods=["GET", "HEAD"])
async def page(request: Request) -> Response:
    """Return the page."""
    digest, files = assets()
    headers = HEADERS | {"etag": f'"{digest}"', "cache-control": "no-cache"}
    if headers["etag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    body = files["index.html"].replace(b"{assets}", f"/assets/{digest}".encode())
    return Response(body, headers=headers, media_type="text/html")


@router.api_route("/assets/{version}/{name}", methods=["GET", "HEAD"])
async def asset(version: str, name: str) -> Response:
    """Return one of the page's files."""
    digest, files = assets()
    if version != digest or name not in files:
        raise NotFound(f"the page has no file {name[:100]!r} of version {version[:100]!r}; reload the page")
    headers = HEADERS | {"cache-control": FOR_EVER}
    return Response(files[name], headers=headers, media_type=TYPES[Path(name).suffix])


@router.get("/clouds/{id:path}")
async def cloud(
    call: Ready,
    id: str,  # noqa: A002
    count: Annotated[int, Query(ge=1, le=20_000)] = 3000,
    collection: InCollection = DEFAULT_COLLECTION,
) -> Response:
    """Return up to `count` points of a stored cloud or mesh: little-endian float32 xyz in the unit sphere."""
    point = await find_point(call, collection, id)
    key = point.payload.get("media")
    if point.modality != "point_cloud" or not key:
        raise InvalidRequest(f"point {id[:200]!r} is of {point.modality}; only point clouds are drawn", "id")
    path = await call.index(partial(call.pipeline.media.path, key))
    drawn = await draw_point(call, point, path, lambda points: thinned(points, count).tobytes())
    headers = {"cache-control": "private, no-cache", "x-content-type-options": "nosniff"}
    return Response(drawn, headers=headers, media_type="application/octet-stream")


def thinned(points: Points, count: int) -> Points:
    """Return at most `count` of the points [N, 3], centred and scaled to fill the sphere of radius 1."""
    if len(points) > count:
        points = points[np.random.default_rng(0).choice(len(points), count, replace=False)]
    centred = points - (points.min(axis=0) + points.max(axis=0)) / 2
    radius = float(np.linalg.norm(centred, axis=1).max())
    return np.asarray(centred / (radius or 1.0), dtype="<f4")

"""`/points`: read, change and delete stored points, one by one or in pages."""

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import TypeAdapter
from starlette.requests import Request
from starlette.responses import Response

from service.errors import InvalidRequest, NotFound
from service.http.dependencies import Call, Loaded
from service.http.openapi import example_reply, request_body
from service.http.parsing import read_json, validate_json
from service.http.replies import JsonReply, point_reply
from service.index.protocol import StoredPoint
from service.schemas.fields import DEFAULT_COLLECTION, Collection, ModalityName
from service.schemas.replies import DeletedPointsReply, PointReply, PointsReply
from service.schemas.requests import PatchBody

router = APIRouter(prefix="/points", tags=["points"])

POINT = {
    "id": "photo-17",
    "modality": "image",
    "mime": "image/jpeg",
    "name": "dog.jpg",
    "created": "2026-01-31T12:00:00.000+00:00",
    "metadata": {"album": "yard"},
    "media_url": "/media/photo-17",
}
FILTER: TypeAdapter[dict[str, Any]] = TypeAdapter(dict[str, Any])

InCollection = Annotated[Collection, Query()]


@router.get(
    "",
    summary="List points",
    response_model=PointsReply,
    responses=example_reply({"points": [POINT], "next_cursor": None, "count": 1}),
)
async def list_points(
    call: Loaded,
    limit: Annotated[int, Query(ge=1, description="Most points in the page")] = 100,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before")] = None,
    modality: Annotated[ModalityName | None, Query(description="Only this one")] = None,
    filter: Annotated[  # noqa: A002 (the parameter's public name)
        str | None, Query(description="JSON, in Qdrant's grammar", examples=['{"must": []}'])
    ] = None,
    with_vectors: Annotated[bool, Query(description="Unified vectors too")] = False,
    with_count: Annotated[
        bool,
        Query(description="Count what matches; a filter on an undeclared field reads every payload for it"),
    ] = True,
    collection: InCollection = DEFAULT_COLLECTION,
) -> Response:
    """Return a page of a collection's points, in a stable order, and the `count` of all that match."""
    if limit > call.settings.max_results:
        raise InvalidRequest(f"limit is {limit}; at most {call.settings.max_results} are served", "limit")
    call.check_modality(modality, "modality")
    await call.check_collection(collection)
    where = None if filter is None else validate_json(FILTER, filter.encode(), "filter")
    index = call.pipeline.index
    points, next_cursor = await call.index(
        partial(index.scroll, collection, limit, cursor, modality, where, with_vectors)
    )
    count = None
    if with_count:
        count = await call.index(partial(index.count, collection, modality, where))
    return JsonReply(
        {
            "points": [point_reply(point, collection, with_vectors) for point in points],
            "next_cursor": next_cursor,
            "count": count,
        }
    )


@router.get("/{id:path}", summary="Get a point", response_model=PointReply, responses=example_reply(POINT))
async def get_point(
    call: Loaded,
    id: str,  # noqa: A002
    with_vectors: bool = False,
    collection: InCollection = DEFAULT_COLLECTION,
) -> Response:
    """Return one point. Write a slash in an id as it is or as %2F."""
    point = await find_point(call, collection, id, with_vectors)
    return JsonReply(point_reply(point, collection, with_vectors))


@router.delete(
    "",
    summary="Delete by filter",
    response_model=DeletedPointsReply,
    responses=example_reply({"deleted": ["photo-17"]}),
)
async def delete_points(
    call: Loaded,
    filter: Annotated[  # noqa: A002
        str,
        Query(
            description="JSON, in Qdrant's grammar, with a condition at least",
            examples=['{"must": [{"key": "metadata.album", "match": {"value": "yard"}}]}'],
        ),
    ],
    collection: InCollection = DEFAULT_COLLECTION,
) -> Response:
    """Delete every point that a filter matches, for good. To delete all, delete the collection."""
    where = validate_json(FILTER, filter.encode(), "filter")
    if not any(where.values()):
        raise InvalidRequest("the filter has no condition and would match every point", "filter")
    await call.check_collection(collection)
    return JsonReply(
        {"deleted": await call.index(partial(call.pipeline.points.delete_matching, collection, where))}
    )


@router.delete(
    "/{id:path}",
    summary="Delete a point",
    response_model=DeletedPointsReply,
    responses=example_reply({"deleted": ["photo-17"]}),
)
async def delete_point(
    call: Loaded,
    id: str,  # noqa: A002
    collection: InCollection = DEFAULT_COLLECTION,
) -> Response:
    """Delete one point, for good."""
    deleted = await call.index(partial(call.pipeline.points.delete, collection, [id]))
    if not deleted:
        await call.check_collection(collection)
        raise no_point(id, collection)
    return JsonReply({"deleted": deleted})


@router.patch(
    "/{id:path}",
    summary="Change a point's metadata or caption",
    response_model=PointReply,
    responses=example_reply(POINT),
    openapi_extra=request_body(PatchBody, {"new metadata": {"metadata": {"album": "garden"}}}),
)
async def patch_point(
    request: Request,
    call: Loaded,
    id: str,  # noqa: A002
    collection: InCollection = DEFAULT_COLLECTION,
) -> Response:
    """Replace the fields given; the rest, and the vectors, stay."""
    body = await read_json(request, PatchBody)
    changes = body.model_dump(include=body.model_fields_set)
    if "metadata" in changes:
        changes["metadata"] = changes["metadata"] or {}
    changed = await call.index(partial(call.pipeline.index.set_payload, collection, id, changes))
    if not changed:
        await call.check_collection(collection)
        raise no_point(id, collection)
    return JsonReply(point_reply(await find_point(call, collection, id), collection))


async def find_point(call: Call, collection: str, point_id: str, with_vectors: bool = False) -> StoredPoint:
    """Return a stored point. Raises `NotFound`."""
    found = await call.index(partial(call.pipeline.index.get, collection, [point_id], with_vectors))
    if not found:
        await call.check_collection(collection)
        raise no_point(point_id, collection)
    return found[0]


def no_point(point_id: str, collection: str) -> NotFound:
    """Return the error for an id that is not there."""
    return NotFound(f"there is no point {point_id[:200]!r} in collection {collection!r}", "id")

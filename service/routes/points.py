"""`/points`: what is stored, one by one or in pages."""

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import TypeAdapter
from starlette.requests import Request
from starlette.responses import Response

from connectors.modality import Modality
from service.bodies import DEFAULT_COLLECTION, Collection, PatchBody
from service.errors import InvalidRequest, NotFound
from service.index.protocol import StoredPoint
from service.json_reply import JsonReply
from service.media_store import delete_matching_with_media, delete_with_media
from service.openapi import example_reply, request_body
from service.point_reply import point_reply
from service.request_context import context_of
from service.request_reader import read_json, validate_json
from service.runtime import Runtime, runtime_of

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
    responses=example_reply({"points": [POINT], "next_cursor": None, "count": 1}),
)
async def list_points(
    request: Request,
    limit: Annotated[int, Query(ge=1, description="Most points in the page")] = 100,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before")] = None,
    modality: Annotated[Modality | None, Query(description="Only this one")] = None,
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
    """A page of a collection's points, in a stable order, and the `count` of all that match."""
    runtime, context = runtime_of(request), context_of(request)
    if limit > runtime.settings.max_results:
        raise InvalidRequest(f"limit is {limit}; at most {runtime.settings.max_results} are served", "limit")
    where = None if filter is None else validate_json(FILTER, filter.encode(), "filter")
    index = runtime.index
    points, next_cursor = await runtime.call_index(
        context, partial(index.scroll, collection, limit, cursor, modality, where, with_vectors)
    )
    count = None
    if with_count:
        count = await runtime.call_index(context, partial(index.count, collection, modality, where))
    return JsonReply(
        {
            "points": [point_reply(point, collection, with_vectors) for point in points],
            "next_cursor": next_cursor,
            "count": count,
        }
    )


@router.get("/{id:path}", summary="Get a point", responses=example_reply(POINT))
async def get_point(
    request: Request,
    id: str,  # noqa: A002
    with_vectors: bool = False,
    collection: InCollection = DEFAULT_COLLECTION,
) -> Response:
    """One point. Write a slash in an id as it is or as %2F."""
    point = await find_point(runtime_of(request), request, collection, id, with_vectors)
    return JsonReply(point_reply(point, collection, with_vectors))


@router.delete("", summary="Delete by filter", responses=example_reply({"deleted": ["photo-17"]}))
async def delete_points(
    request: Request,
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
    runtime = runtime_of(request)
    where = validate_json(FILTER, filter.encode(), "filter")
    if not any(where.values()):
        raise InvalidRequest("the filter has no condition and would match every point", "filter")
    delete = partial(delete_matching_with_media, runtime.index, runtime.media, collection, where)
    return JsonReply({"deleted": await runtime.call_index(context_of(request), delete)})


@router.delete("/{id:path}", summary="Delete a point", responses=example_reply({"deleted": ["photo-17"]}))
async def delete_point(
    request: Request,
    id: str,  # noqa: A002
    collection: InCollection = DEFAULT_COLLECTION,
) -> Response:
    """Delete one point, for good."""
    runtime = runtime_of(request)
    deleted = await runtime.call_index(
        context_of(request), partial(delete_with_media, runtime.index, runtime.media, collection, [id])
    )
    if not deleted:
        raise no_point(id, collection)
    return JsonReply({"deleted": deleted})


@router.patch(
    "/{id:path}",
    summary="Change a point's metadata or caption",
    responses=example_reply(POINT),
    openapi_extra=request_body(PatchBody, {"new metadata": {"metadata": {"album": "garden"}}}),
)
async def patch_point(
    request: Request,
    id: str,  # noqa: A002
    collection: InCollection = DEFAULT_COLLECTION,
) -> Response:
    """Replace what is given; the rest, and the vectors, stay."""
    runtime = runtime_of(request)
    body = await read_json(request, PatchBody)
    changes = body.model_dump(include=body.model_fields_set)
    if "metadata" in changes:
        changes["metadata"] = changes["metadata"] or {}
    changed = await runtime.call_index(
        context_of(request), partial(runtime.index.set_payload, collection, id, changes)
    )
    if not changed:
        raise no_point(id, collection)
    return JsonReply(point_reply(await find_point(runtime, request, collection, id), collection))


async def find_point(
    runtime: Runtime, request: Request, collection: str, point_id: str, with_vectors: bool = False
) -> StoredPoint:
    """A stored point. Raises `NotFound`."""
    found = await runtime.call_index(
        context_of(request), partial(runtime.index.get, collection, [point_id], with_vectors)
    )
    if not found:
        raise no_point(point_id, collection)
    return found[0]


def no_point(point_id: str, collection: str) -> NotFound:
    """The error for an id that is not there."""
    return NotFound(f"there is no point {point_id[:200]!r} in collection {collection!r}", "id")

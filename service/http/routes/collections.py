"""`/collections`: list, make, count and delete the named sets of points. Storing into one makes it, too."""

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import TypeAdapter
from starlette.requests import Request
from starlette.responses import Response

from service.errors import InvalidRequest
from service.http.dependencies import Call, Loaded, no_collection
from service.http.openapi import example_reply, request_body
from service.http.parsing import read_json, validate_json
from service.http.replies import JsonReply
from service.index.protocol import CollectionInfo, CollectionStats
from service.schemas.fields import Collection, ModalityName
from service.schemas.replies import (
    CollectionReply,
    CollectionsReply,
    CountReply,
    CreatedCollectionReply,
    DeletedCollectionReply,
    FacetsReply,
)
from service.schemas.requests import CollectionBody

router = APIRouter(prefix="/collections", tags=["collections"])

EXAMPLE = {"name": "default", "dim": 512, "count": 42}
STATS = {
    **EXAMPLE,
    "connector": "exmcr-3f1a9c04d2b7",
    "indexed": 40,
    "optimizing": False,
    "bytes_on_disk": 1_048_576,
    "fields": {"modality": "keyword", "metadata.album": "keyword"},
}
FIELDS = {"fields": {"metadata.album": "keyword", "metadata.year": "integer"}}
FILTER: TypeAdapter[dict[str, Any]] = TypeAdapter(dict[str, Any])

Name = Annotated[Collection, Path()]
Where = Annotated[str | None, Query(description="JSON, in Qdrant's grammar", examples=['{"must": []}'])]


@router.get(
    "",
    summary="List collections",
    response_model=CollectionsReply,
    responses=example_reply({"collections": [EXAMPLE]}),
)
async def list_collections(call: Loaded) -> Response:
    """Return every collection, by name."""
    found = await call.index(call.pipeline.index.collections)
    return JsonReply({"collections": [_info(info) for info in found]})


@router.put(
    "/{name}",
    summary="Make a collection, index its fields",
    response_model=CreatedCollectionReply,
    responses=example_reply({**STATS, "created": True, "unfit": {"metadata.year": 3}}),
    openapi_extra=request_body(CollectionBody, {"two fields to filter by": FIELDS, "nothing": {}}),
)
async def create_collection(request: Request, call: Loaded, name: Name) -> Response:
    """Make a collection and index the payload fields named; both may be there already.

    An indexed field is filtered by without reading every payload, and has facets. From now on a value that is
    not of its type is refused; `unfit` counts the points that were there and hold one, which no filter on the
    field finds. They stay as they are.
    """
    index = call.pipeline.index
    body = await read_json(request, CollectionBody) if await request.body() else CollectionBody()
    created = await call.index(partial(index.create, name, call.pipeline.space.dim))
    declared = {
        key: kind
        for key, kind in body.fields.items()
        if await call.index(partial(index.declare_field, name, key, kind))
    }
    # What is written after the declaration is checked then: nothing escapes both.
    unfit = await call.index(partial(index.count_unfit, name, {} if created else declared))
    return JsonReply({**_stats(await _find(call, name)), "created": created, "unfit": unfit})


@router.get(
    "/{name}",
    summary="Look at a collection",
    response_model=CollectionReply,
    responses=example_reply(STATS),
)
async def get_collection(call: Loaded, name: Name) -> Response:
    """Return a collection's size and state. Points not yet `indexed` are found too, by scanning them."""
    return JsonReply(_stats(await _find(call, name)))


@router.get(
    "/{name}/count", summary="Count points", response_model=CountReply, responses=example_reply({"count": 42})
)
async def count_points(
    call: Loaded,
    name: Name,
    filter: Where = None,  # noqa: A002 (the parameter's public name)
    modality: Annotated[ModalityName | None, Query(description="Only this one")] = None,
) -> Response:
    """Return the exact number of points that match."""
    call.check_modality(modality, "modality")
    await call.check_collection(name, "name")
    count = partial(call.pipeline.index.count, name, modality, _where(filter))
    return JsonReply({"count": await call.index(count)})


@router.get(
    "/{name}/facets",
    summary="Values of a field and their counts",
    response_model=FacetsReply,
    responses=example_reply({"field": "metadata.album", "values": [{"value": "yard", "count": 7}]}),
)
async def get_facets(
    call: Loaded,
    name: Name,
    field: Annotated[str, Query(description="An indexed field: keyword, integer or bool")],
    limit: Annotated[int, Query(ge=1, description="Most values")] = 10,
    filter: Where = None,  # noqa: A002
) -> Response:
    """Return the values of an indexed field and how many points hold each, most frequent first."""
    if limit > call.settings.max_results:
        raise InvalidRequest(f"limit is {limit}; at most {call.settings.max_results} are served", "limit")
    await call.check_collection(name, "name")
    facets = partial(call.pipeline.index.facets, name, field, limit, _where(filter))
    values = await call.index(facets)
    return JsonReply(
        {"field": field, "values": [{"value": value, "count": count} for value, count in values]}
    )


@router.delete(
    "/{name}",
    summary="Delete a collection",
    response_model=DeletedCollectionReply,
    responses=example_reply({"deleted": "default"}),
)
async def delete_collection(call: Loaded, name: Name) -> Response:
    """Delete a collection with all its points and their media, for good."""
    if not await call.index(partial(call.pipeline.points.drop, name)):
        raise no_collection(name, "name")
    return JsonReply({"deleted": name})


async def _find(call: Call, name: str) -> CollectionStats:
    found = await call.index(partial(call.pipeline.index.stats, name))
    if found is None:
        raise no_collection(name, "name")
    return found


def _where(raw: str | None) -> dict[str, Any] | None:
    return None if raw is None else validate_json(FILTER, raw.encode(), "filter")


def _info(info: CollectionInfo | CollectionStats) -> dict[str, Any]:
    return {"name": info.name, "dim": info.dim, "count": info.count}


def _stats(stats: CollectionStats) -> dict[str, Any]:
    return {
        **_info(stats),
        "connector": stats.connector,
        "indexed": stats.indexed,
        "optimizing": stats.optimizing,
        "bytes_on_disk": stats.bytes_on_disk,
        "fields": dict(stats.fields),
    }

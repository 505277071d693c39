"""`/collections`: the named sets of points. Storing into one makes it; these list, make and delete them."""

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

from service.bodies import Collection
from service.errors import NotFound
from service.index.protocol import CollectionInfo
from service.json_reply import JsonReply
from service.media_store import drop_with_media
from service.openapi import example_reply
from service.request_context import context_of
from service.runtime import Runtime, runtime_of

router = APIRouter(prefix="/collections", tags=["collections"])

EXAMPLE = {"name": "default", "dim": 512, "count": 42}
Name = Annotated[Collection, Path()]


@router.get("", summary="List collections", responses=example_reply({"collections": [EXAMPLE]}))
async def list_collections(request: Request) -> Response:
    """Every collection, by name."""
    return JsonReply({"collections": [_reply(info) for info in await _all(runtime_of(request), request)]})


@router.put("/{name}", summary="Make a collection", responses=example_reply({**EXAMPLE, "created": True}))
async def create_collection(request: Request, name: Name) -> Response:
    """Make an empty collection; one that is there already stays as it is."""
    runtime = runtime_of(request)
    dim = runtime.space.dim
    created = await runtime.call_index(context_of(request), partial(runtime.index.create, name, dim))
    return JsonReply({**_reply(await _find(runtime, request, name)), "created": created})


@router.get("/{name}", summary="Look at a collection", responses=example_reply(EXAMPLE))
async def get_collection(request: Request, name: Name) -> Response:
    """One collection and how many points it holds."""
    return JsonReply(_reply(await _find(runtime_of(request), request, name)))


@router.delete("/{name}", summary="Delete a collection", responses=example_reply({"deleted": "default"}))
async def delete_collection(request: Request, name: Name) -> Response:
    """Delete a collection with all its points and their media, for good."""
    runtime = runtime_of(request)
    drop = partial(drop_with_media, runtime.index, runtime.media, name)
    if not await runtime.call_index(context_of(request), drop):
        raise _none(name)
    return JsonReply({"deleted": name})


async def _all(runtime: Runtime, request: Request) -> list[CollectionInfo]:
    return await runtime.call_index(context_of(request), runtime.index.collections)


async def _find(runtime: Runtime, request: Request, name: str) -> CollectionInfo:
    for info in await _all(runtime, request):
        if info.name == name:
            return info
    raise _none(name)


def _none(name: str) -> NotFound:
    return NotFound(f"there is no collection {name!r}", "name")


def _reply(info: CollectionInfo) -> dict[str, Any]:
    return {"name": info.name, "dim": info.dim, "count": info.count}

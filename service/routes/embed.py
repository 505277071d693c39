"""`POST /embed`: media into vectors and, unless told otherwise, into the index."""

from functools import partial

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from service.answering import answer_within
from service.bodies import DEFAULT_COLLECTION, EmbedBody, EmbedOptions, Metadata, PointId
from service.entry import (
    Entry,
    check_entries,
    embed_inputs,
    item_reply,
    model_reply,
    raise_if_all_failed,
    store,
)
from service.errors import InvalidRequest
from service.json_reply import list_reply
from service.openapi import example_reply, request_body
from service.request_context import context_of, seconds_left
from service.request_reader import Form, is_multipart, parsed, read_form, read_json
from service.runtime import Runtime, runtime_of
from service.vector_reply import BINARY_REPLIES, check_available, vector_reply, wanted_type

router = APIRouter(tags=["embed"])

FORM = {
    "files": {"type": "array", "items": {"type": "string", "format": "binary"}},
    "texts": {"type": "array", "items": {"type": "string"}},
    "collection": {"type": "string", "default": DEFAULT_COLLECTION},
    "store": {"type": "boolean", "default": True},
    "return_vectors": {"type": "boolean", "default": False},
    "metadata": {
        "type": "string",
        "description": "A JSON object for all items, or a list of them: files first, then texts",
    },
    "ids": {"type": "string", "description": "A JSON list of ids: files first, then texts; null for none"},
}
EXAMPLES = {
    "a text, with metadata": {
        "items": [{"text": "a dog barks in the yard", "id": "note-1", "metadata": {"album": "yard"}}]
    },
    "an image, vectors only": {
        "items": [{"image": "data:image/png;base64,iVBORw0KGgo..."}],
        "store": False,
        "return_vectors": True,
    },
}
REPLY = {
    "items": [{"index": 0, "id": "note-1", "modality": "text"}],
    "model": {"bundle": "compact", "connector": "exmcr-3f1a9c04d2b7"},
    "timing_ms": {"queue": 0.2, "decode": 0.4, "inference": 6.1, "index": 2.0, "total": 9.3},
}


@router.post(
    "/embed",
    summary="Embed media, and index it",
    responses=example_reply(REPLY, BINARY_REPLIES),
    openapi_extra=request_body(EmbedBody, EXAMPLES, FORM),
)
async def embed(request: Request) -> Response:
    """Embed texts, images, sounds and point clouds into the unified space.

    Each item succeeds or fails by itself: the reply is 200 if at least one went well, and its failed items
    have an `error`. Sending the same content twice stores it once. Those who embed millions may `Accept` the
    vectors as bytes or as an Arrow stream.
    """
    runtime = runtime_of(request)
    runtime.check_ready()
    if is_multipart(request):
        async with read_form(request, runtime.settings.max_items) as form:
            return await _embed(
                request, runtime, _form_entries(form), form.fields_as(EmbedOptions, "metadata", "ids")
            )
    body = await read_json(request, EmbedBody)
    entries = await parsed(request, partial(_json_entries, body))
    return await _embed(request, runtime, entries, body)


async def _embed(request: Request, runtime: Runtime, entries: list[Entry], options: EmbedOptions) -> Response:
    settings, context = runtime.settings, context_of(request)
    check_entries(entries, settings.max_items)
    wanted = wanted_type(request)
    check_available(wanted)

    async def work() -> Response:
        left, space = seconds_left(request, settings.request_timeout), runtime.space
        outcomes = await embed_inputs(runtime, context, [entry.item for entry in entries], left, space)
        raise_if_all_failed(outcomes)
        if options.store:
            await store(runtime, context, options.collection, entries, outcomes)
        if wanted is not None:
            return vector_reply(wanted, space.dim, model_reply(space), entries, outcomes)
        pairs = enumerate(zip(entries, outcomes, strict=True))
        items = (item_reply(i, entry, outcome, options.return_vectors) for i, (entry, outcome) in pairs)
        rest = {"model": model_reply(space), "timing_ms": context.milliseconds()}
        return await list_reply("items", items, len(entries), rest)

    return await answer_within(request, settings.request_timeout, work())


def _json_entries(body: EmbedBody) -> list[Entry]:
    """The body's items, out of base64."""
    return [
        Entry(item.media_input(f"items[{i}]"), item.id, item.metadata) for i, item in enumerate(body.items)
    ]


def _form_entries(form: Form) -> list[Entry]:
    """The form's media, with the ids and the metadata its fields give them."""
    count = len(form.media)
    ids = form.json("ids", list[PointId | None]) or [None] * count
    metadata = form.json("metadata", Metadata | list[Metadata | None])
    each = metadata if isinstance(metadata, list) else [metadata] * count
    for name, values in (("ids", ids), ("metadata", each)):
        if len(values) != count:
            raise InvalidRequest(f"{name} has {len(values)} entries for {count} files and texts", name)
    return [Entry(*parts) for parts in zip(form.media, ids, each, strict=True)]

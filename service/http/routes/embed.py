"""`POST /embed`: media into vectors and, unless `store` is false, into the index."""

from collections.abc import Sequence
from functools import partial

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from service.errors import InvalidRequest
from service.http.dependencies import Call, Ready
from service.http.openapi import example_reply, request_body
from service.http.parsing import Form, is_multipart, media_input, parsed, read_form, read_json
from service.http.replies import item_reply, list_reply, model_reply
from service.http.vector_replies import BINARY_REPLIES, check_available, vector_reply, wanted_type
from service.pipeline import EmbedInput, check_inputs, raise_if_all_failed, refuse_truncated
from service.schemas.fields import DEFAULT_COLLECTION, Metadata, PointId, StoredStatus
from service.schemas.replies import EmbedReply
from service.schemas.requests import EmbedBody, EmbedOptions

router = APIRouter(tags=["embed"])

FORM = {
    "files": {"type": "array", "items": {"type": "string", "format": "binary"}},
    "texts": {"type": "array", "items": {"type": "string"}},
    "collection": {"type": "string", "default": DEFAULT_COLLECTION},
    "store": {"type": "boolean", "default": True},
    "store_not_understood": {"type": "boolean", "default": False},
    "truncate": {"type": "boolean", "default": True},
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
    "items": [{"index": 0, "id": "note-1", "modality": "text", "status": "stored"}],
    "model": {"bundle": "compact", "connector": "exmcr-3f1a9c04d2b7"},
    "timing_ms": {"queue": 0.2, "decode": 0.4, "inference": 6.1, "index": 2.0, "total": 9.3},
}


@router.post(
    "/embed",
    summary="Embed media, and index it",
    response_model=EmbedReply,
    responses=example_reply(REPLY, BINARY_REPLIES),
    openapi_extra=request_body(EmbedBody, EXAMPLES, FORM),
)
async def embed(request: Request, call: Ready) -> Response:
    """Embed texts, images, sounds and point clouds into the unified space.

    Each item succeeds or fails by itself: the reply is 200 if at least one succeeds, and its failed items
    have an `error`. Of a point that is there already, what is not given stays: its metadata and the time of
    its creation, and with the same content its name and its caption too. `status` says if an item was
    `stored` anew, is `unchanged`, or its point `updated`. For large numbers `Accept` the vectors as bytes or
    as an Arrow stream.

    A text longer than its encoder reads is cut, and its item says so in `truncated`; with `truncate=false` it
    fails instead. A text of which the encoder knows no word has `understood: false`, and is not stored unless
    `store_not_understood` is true: its vector says nothing about it.
    """
    if is_multipart(request):
        async with read_form(request, call.settings.max_items) as form:
            return await _embed(call, _form_inputs(form), form.fields_as(EmbedOptions, "metadata", "ids"))
    body = await read_json(request, EmbedBody)
    return await _embed(call, await parsed(request, partial(_json_inputs, body)), body)


async def _embed(call: Call, inputs: list[EmbedInput], options: EmbedOptions) -> Response:
    pipeline, timings = call.pipeline, call.timings
    check_inputs(inputs, call.settings.max_items)
    wanted = wanted_type(call.request)
    check_available(wanted)

    async def work() -> Response:
        space = pipeline.space
        media = [each.media for each in inputs]
        outcomes = await pipeline.embed(timings, media, call.seconds_left(), space)
        if not options.truncate:
            outcomes = refuse_truncated(media, outcomes)
        raise_if_all_failed(outcomes)
        statuses: Sequence[StoredStatus | None] = [None] * len(inputs)
        if options.store:
            outcomes, statuses = await pipeline.store(
                timings, options.collection, inputs, outcomes, options.store_not_understood
            )
            raise_if_all_failed(outcomes)
        if wanted is not None:
            return vector_reply(wanted, space.dim, model_reply(space), inputs, outcomes)
        parts = enumerate(zip(inputs, outcomes, statuses, strict=True))
        items = (
            item_reply(i, item, outcome, options.return_vectors, status)
            for i, (item, outcome, status) in parts
        )
        rest = {"model": model_reply(space), "timing_ms": timings.milliseconds()}
        return await list_reply("items", items, len(inputs), rest)

    return await call.within_deadline(work())


def _json_inputs(body: EmbedBody) -> list[EmbedInput]:
    """Return the body's items, decoded from base64."""
    return [
        EmbedInput(media_input(item, f"items[{i}]"), item.id, item.metadata)
        for i, item in enumerate(body.items)
    ]


def _form_inputs(form: Form) -> list[EmbedInput]:
    """Return the form's media, with the ids and the metadata in its fields."""
    count = len(form.media)
    ids = form.json("ids", list[PointId | None]) or [None] * count
    metadata = form.json("metadata", Metadata | list[Metadata | None])
    each = metadata if isinstance(metadata, list) else [metadata] * count
    for name, values in (("ids", ids), ("metadata", each)):
        if len(values) != count:
            raise InvalidRequest(f"{name} has {len(values)} entries for {count} files and texts", name)
    return [EmbedInput(*parts) for parts in zip(form.media, ids, each, strict=True)]

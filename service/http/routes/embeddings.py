"""`POST /v1/embeddings` and `GET /v1/models`: OpenAI's interface, for media of every kind."""

import base64
from functools import partial

import numpy as np
import numpy.typing as npt
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from connectors.errors import IsthmusError
from service.engine.media_input import MediaInput
from service.errors import InvalidRequest, ModelNotFound
from service.http.dependencies import Loaded, Ready
from service.http.openapi import example_reply, request_body
from service.http.parsing import media_input, parsed, read_json
from service.http.replies import JsonReply, list_reply, text_limits
from service.pipeline import check_count, embeddings_of, refuse_truncated
from service.schemas.replies import EmbeddingsReply, ModelsReply
from service.schemas.requests import ANY_MODEL, EmbeddingsBody

router = APIRouter(prefix="/v1", tags=["OpenAI"])

EXAMPLES = {
    "a text": {"model": "compact", "input": "a dog barks"},
    "a text and an image": {
        "model": "compact",
        "input": ["a dog barks", {"image": "data:image/png;base64,iVBORw0KGgo..."}],
        "dimensions": 128,
        "encoding_format": "base64",
    },
}
REPLY = {
    "object": "list",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.013, -0.072, 0.005]}],
    "model": "compact",
    "usage": {"prompt_tokens": 5, "total_tokens": 5},
}
MODELS = {
    "object": "list",
    "data": [{"id": "compact", "object": "model", "created": 0, "owned_by": "isthmus"}],
}


@router.post(
    "/embeddings",
    summary="Embed, OpenAI-compatible",
    response_model=EmbeddingsReply,
    responses=example_reply(REPLY),
    openapi_extra=request_body(EmbeddingsBody, EXAMPLES),
)
async def embeddings(request: Request, call: Ready) -> Response:
    """Return unified vectors of texts and typed media objects. Nothing is stored; one bad item fails all.

    `dimensions` keeps that many from the start and normalises again. `usage` counts the tokens of texts. With
    `truncate=false` a text longer than its encoder reads is refused; else its object says so in `truncated`.
    `model` is the bundle's name as `GET /v1/models` has it, or `isthmus` for whichever it is.
    """
    body = await read_json(request, EmbeddingsBody)
    space = call.pipeline.space
    if body.model not in (space.name, ANY_MODEL):
        raise ModelNotFound(
            f"there is no model {body.model[:100]!r}; there is {space.name!r}, which {ANY_MODEL!r} names too",
            "model",
        )
    dimensions = body.dimensions or space.dim
    if dimensions > space.dim:
        raise InvalidRequest(f"dimensions is {dimensions}; vectors have {space.dim}", "dimensions")
    inputs = await parsed(request, partial(_inputs, body))
    check_count(len(inputs), call.settings.max_items, "input")

    async def work() -> Response:
        outcomes = await call.pipeline.embed(call.timings, inputs, call.seconds_left(), space)
        if not body.truncate:
            outcomes = refuse_truncated(inputs, outcomes)
        embedded = embeddings_of(outcomes, "input")
        tokens = sum(each.vectors.tokens for each in embedded)
        as_base64 = body.encoding_format == "base64"
        data = (
            {
                "object": "embedding",
                "index": i,
                "embedding": _encoded(truncate(each.vectors.unified, dimensions), as_base64),
                **text_limits(each.vectors),
            }
            for i, each in enumerate(embedded)
        )
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        rest = {"object": "list", "model": space.name, "usage": usage}
        return await list_reply("data", data, len(embedded), rest)

    return await call.within_deadline(work())


@router.get(
    "/models",
    summary="List models, OpenAI-compatible",
    response_model=ModelsReply,
    responses=example_reply(MODELS),
)
async def models(call: Loaded) -> Response:
    """Return the bundle in use, as a model."""
    model = {"id": call.pipeline.space.name, "object": "model", "created": 0, "owned_by": "isthmus"}
    return JsonReply({"object": "list", "data": [model]})


def truncate(vector: npt.NDArray[np.float32], dimensions: int) -> npt.NDArray[np.float32]:
    """Return the first `dimensions` of a vector [D], L2-normalised again."""
    if dimensions == len(vector):
        return vector
    first = vector[:dimensions]
    norm = float(np.linalg.norm(first))
    return first / np.float32(norm) if norm else first


def _inputs(body: EmbeddingsBody) -> list[MediaInput | IsthmusError]:
    return [media_input(each, f"input[{i}]") for i, each in enumerate(body.input)]


def _encoded(vector: npt.NDArray[np.float32], as_base64: bool) -> str | list[float]:
    if as_base64:
        return base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")
    values: list[float] = vector.tolist()
    return values

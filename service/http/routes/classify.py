"""`POST /classify`: zero-shot classification of any media."""

from typing import Any

import numpy as np
import numpy.typing as npt
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from connectors.calibration import Calibration
from connectors.modality import Modality
from service.engine.media_input import MediaInput
from service.errors import InvalidRequest
from service.http.dependencies import Ready
from service.http.openapi import example_reply, request_body
from service.http.parsing import media_input, read_json
from service.http.replies import JsonReply, warnings_reply
from service.pipeline import embeddings_of
from service.schemas.replies import ClassifyReply
from service.schemas.requests import ClassifyBody
from service.search.query import QueryMedia, QueryPoint, resolve

router = APIRouter(tags=["classify"])

PLACE = "{}"
CLIP_SCALE = 100.0
"""CLIP's own logit scale, for pairs of modalities without a calibration."""

EXAMPLES = {
    "an image": {
        "item": {"image": "data:image/jpeg;base64,/9j/4AAQSkZJRg..."},
        "labels": ["a dog", "a cat"],
        "template": "a photo of {}",
    },
    "a stored point": {"item": {"id": "sound-3"}, "labels": ["rain", "applause"]},
}
REPLY = {
    "labels": [
        {"label": "a dog", "probability": 0.9, "cosine": 0.3},
        {"label": "a cat", "probability": 0.1, "cosine": 0.26},
    ],
    "timing_ms": {"queue": 0.2, "decode": 0.4, "inference": 6.1, "index": 0.0, "total": 7.9},
}


@router.post(
    "/classify",
    summary="Classify media against labels",
    response_model=ClassifyReply,
    responses=example_reply(REPLY),
    openapi_extra=request_body(ClassifyBody, EXAMPLES),
)
async def classify(request: Request, call: Ready) -> Response:
    """Rank labels by probability, best first, without training on them (zero-shot).

    The probabilities of the labels given sum to one, whether or not any of them fits. `warnings` names the
    item and the labels that are longer than their encoder reads, or of which it knows no word.
    """
    body = await read_json(request, ClassifyBody)
    texts = _prompts(body)
    item = body.item
    if item.id is not None:
        await call.check_collection(body.collection)
    query = QueryPoint(item.id) if item.id is not None else QueryMedia(media_input(item, "item"))

    async def work() -> dict[str, Any]:
        left, space = call.seconds_left(), call.pipeline.space
        (part,) = await resolve(call.pipeline, call.timings, space, [query], body.collection, left)
        outcomes = await call.pipeline.embed(call.timings, texts, left, space)
        labels = [each.vectors for each in embeddings_of(outcomes, "labels")]
        embedded = [("item", part.embedded)] if part.embedded else []
        embedded += [(f"labels[{i}]", each) for i, each in enumerate(labels)]
        cosines = np.stack([each.unified for each in labels]).astype(np.float64) @ part.vector
        probabilities = softmax(cosines * _scale(space.calibration, part.modality))
        best_first = np.argsort(-cosines, kind="stable")
        return {
            "labels": [
                {
                    "label": body.labels[i],
                    "probability": float(probabilities[i]),
                    "cosine": round(float(cosines[i]), 6),
                }
                for i in best_first
            ],
            **warnings_reply(embedded),
            "timing_ms": call.timings.milliseconds(),
        }

    return JsonReply(await call.within_deadline(work()))


def softmax(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the probabilities of logits [n]."""
    exponentials: npt.NDArray[np.float64] = np.exp(logits - logits.max())
    return exponentials / float(exponentials.sum())


def _prompts(body: ClassifyBody) -> list[MediaInput]:
    template = PLACE if body.template is None else body.template
    if PLACE not in template:
        raise InvalidRequest(f"template {template[:100]!r} has no {PLACE} where the label goes", "template")
    return [
        MediaInput.text(template.replace(PLACE, label), f"labels[{i}]") for i, label in enumerate(body.labels)
    ]


def _scale(calibration: Calibration, modality: Modality | None) -> float:
    """Return the factor from cosines to logits: the slope of the pair's fitted curve."""
    known = modality is not None and f"{modality}->text" in calibration.pairs
    return calibration.curve(modality, "text").slope if known and modality else CLIP_SCALE

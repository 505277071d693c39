"""`POST /classify`: any media against labels nobody trained on."""

from typing import Any

import numpy as np
import numpy.typing as npt
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from connectors.calibration import Calibration
from connectors.errors import IsthmusError
from connectors.modality import Modality
from service.answering import answer_within
from service.bodies import ClassifyBody, QueryItem
from service.engine.embedding import Embedding
from service.engine.media_input import MediaInput
from service.entry import embed_inputs
from service.errors import BatchFailed, InvalidRequest, ItemError
from service.json_reply import JsonReply
from service.openapi import example_reply, request_body
from service.request_context import context_of, seconds_left
from service.request_reader import read_json
from service.runtime import runtime_of
from service.search import resolve

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
    responses=example_reply(REPLY),
    openapi_extra=request_body(ClassifyBody, EXAMPLES),
)
async def classify(request: Request) -> Response:
    """Zero-shot classification: the labels by probability, best first.

    Probabilities are over the labels given: they sum to one, whether or not any of them fits.
    """
    runtime, context = runtime_of(request), context_of(request)
    runtime.check_ready()
    body = await read_json(request, ClassifyBody)
    texts = _prompts(body)

    async def work() -> dict[str, Any]:
        left = seconds_left(request, runtime.settings.request_timeout)
        query = QueryItem.model_construct(**body.item.model_dump(), weight=1.0, vector=None)
        space = runtime.space
        (part,) = await resolve(runtime, context, space, [query], body.collection, left)
        outcomes = await embed_inputs(runtime, context, texts, left, space)
        errors = [ItemError(i, each) for i, each in enumerate(outcomes) if isinstance(each, IsthmusError)]
        if errors:
            raise BatchFailed(errors, "labels")
        labels = [each.vectors.unified for each in outcomes if isinstance(each, Embedding)]
        cosines = np.stack(labels).astype(np.float64) @ part.vector
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
            "timing_ms": context.milliseconds(),
        }

    return JsonReply(await answer_within(request, runtime.settings.request_timeout, work()))


def softmax(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Probabilities of logits [n]."""
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
    """How sharply cosines to texts tell labels apart: the slope of the pair's fitted curve."""
    known = modality is not None and f"{modality}->text" in calibration.pairs
    return calibration.curve(modality, "text").slope if known and modality else CLIP_SCALE

"""`/livez`, `/readyz` and `/metrics`, for orchestrators and Prometheus."""

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response

from service.http.dependencies import runtime_of
from service.http.openapi import ERROR_REPLIES, example_reply
from service.http.replies import JsonReply
from service.schemas.replies import LiveReply, ReadyReply

router = APIRouter(tags=["health"])


@router.get(
    "/livez",
    summary="Whether the process lives",
    response_model=LiveReply,
    responses=example_reply({"status": "alive"}),
)
async def livez() -> Response:
    """Return 200 as long as the event loop turns."""
    return JsonReply({"status": "alive"})


@router.get(
    "/readyz",
    summary="Whether requests are answered",
    response_model=ReadyReply,
    responses=example_reply(
        {
            "status": "ready",
            "bundle": "compact",
            "connector": "exmcr-3f1a9c04d2b7",
            "modalities": ["text", "image", "audio", "point_cloud"],
            "encoders": {"clip": "ok", "clap": "ok", "ulip": "ok"},
            "decoders": "ok",
            "index": "ok",
            "refresh": None,
        }
    ),
)
async def readyz(request: Request) -> Response:
    """Return 200 if every encoder embedded something lately, or a probe now, and the index answers.

    `decoders` are silent when each of their threads has been at one file for a minute.
    503 while loading or draining, and when any of them is silent. `refresh` is the progress of a switch to
    another connector, null where none is under way; requests are answered meanwhile.
    """
    ready, report = await runtime_of(request).health()
    return JsonReply(report, 200 if ready else 503, {} if ready else {"retry-after": "2"})


@router.get(
    "/metrics",
    summary="Metrics in Prometheus' format",
    response_class=Response,
    responses={
        200: {"description": "Metrics", "content": {"text/plain": {"schema": {"type": "string"}}}},
        **ERROR_REPLIES,
    },
)
async def metrics(request: Request) -> Response:
    """Return histograms of requests, stages and batches, gauges of queues, counters of cache and refusals."""
    return Response(runtime_of(request).exposition(), media_type=CONTENT_TYPE_LATEST)

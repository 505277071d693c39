"""What goes around every request: its id, the bound on its body, the timing headers, the metrics.

Holds `Envelope`, the only middleware. It is plain ASGI: it never buffers a body and costs microseconds.
"""

import logging
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import RequestTooLarge
from service.metrics import Metrics
from service.request_context import RequestContext, open_context
from service.settings import Settings

log = logging.getLogger("isthmus.requests")

UPLOADS = "/jobs/ingest"
"""The path whose bodies may be as large as archives are."""

STAGES = ("queue", "decode", "inference", "index")


class Envelope:
    """ASGI middleware around the whole app."""

    def __init__(self, app: ASGIApp, metrics: Metrics, settings: Settings) -> None:
        self._app = app
        self._metrics = metrics
        self._body_limit = ("max_body_bytes", settings.max_body_bytes)
        self._upload_limits = {UPLOADS: ("max_archive_bytes", settings.max_archive_bytes)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        context = open_context(scope, headers.get("x-request-id"))
        status = 500

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _add_headers(MutableHeaders(scope=message), context)
            await send(message)

        try:
            await self._app(scope, self._bounded(scope, headers, receive), send_with_headers)
        finally:
            self._observe(scope, context, status)

    def _bounded(self, scope: Scope, headers: Headers, receive: Receive) -> Receive:
        """`receive`, raising `RequestTooLarge` as soon as the body is known to pass the limit."""
        setting, limit = self._body_limit
        if headers.get("content-type", "").startswith("multipart/"):  # which is not held in memory
            setting, limit = self._upload_limits.get(scope["path"], self._body_limit)
        declared = headers.get("content-length", "")
        length = int(declared) if declared.isdecimal() else 0
        received = 0

        async def bounded() -> Message:
            nonlocal received
            if length > limit:
                raise _too_large(length, limit, setting)
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise _too_large(received, limit, setting)
            return message

        return bounded

    def _observe(self, scope: Scope, context: RequestContext, status: int) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        seconds = time.perf_counter() - context.started
        self._metrics.requests.labels(route, str(status)).observe(seconds)
        for stage in STAGES:
            spent = getattr(context, stage)
            if spent:
                self._metrics.stages.labels(stage).observe(spent)
        log.debug("%s %s %s %d %.1f ms", context.id, scope["method"], scope["path"], status, seconds * 1e3)


def _add_headers(headers: MutableHeaders, context: RequestContext) -> None:
    headers["x-request-id"] = context.id
    times = context.milliseconds()
    headers["server-timing"] = ", ".join(f"{name};dur={ms:g}" for name, ms in times.items())
    for name, ms in times.items():
        headers[f"x-{name}-time"] = f"{ms:g}"


def _too_large(size: int, limit: int, setting: str) -> RequestTooLarge:
    return RequestTooLarge(
        f"the request's body has {size:,} bytes or more; the limit is {limit:,} (ISTHMUS_{setting.upper()})",
        "body",
    )

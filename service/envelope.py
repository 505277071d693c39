"""What goes around every request: its id, the bound on its body, the timing headers, the metrics.

What nobody expected is answered here too, with a 500 that has the same headers. Holds `Envelope`, the only
middleware. It is plain ASGI: it never buffers a body and costs microseconds.
"""

import asyncio
import logging
import time
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.body_budget import BodyBudget, Share
from service.door import PATHS, Door
from service.error_replies import error_body, framework_body, status_of
from service.errors import BodyStalled, Overloaded, RequestTooLarge
from service.json_reply import JsonReply
from service.metrics import Metrics
from service.request_context import RequestContext, open_context
from service.settings import Settings

log = logging.getLogger("isthmus.requests")
failures = logging.getLogger("isthmus")

UPLOADS = "/jobs/ingest"
"""The path whose bodies may be as large as archives are."""

STALL_SECONDS = 30.0
"""How long a client may send nothing of a body that it has begun."""

STAGES = ("queue", "decode", "inference", "index")


class Envelope:
    """ASGI middleware around the whole app."""

    def __init__(self, app: ASGIApp, metrics: Metrics, settings: Settings, door: Door) -> None:
        self._app = app
        self._door = door
        self._metrics = metrics
        self._body_limit = ("max_body_bytes", settings.max_body_bytes)
        self._bodies = BodyBudget(settings.body_bytes)
        metrics.body_bytes.set_function(lambda: self._bodies.held)
        self._upload_limits = {UPLOADS: ("max_archive_bytes", settings.max_archive_bytes)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        context = open_context(scope, headers.get("x-request-id"))
        status, begun = 500, False
        share = Share(self._bodies)

        async def send_with_headers(message: Message) -> None:
            nonlocal status, begun
            if message["type"] == "http.response.start":
                status, begun = message["status"], True
                message["headers"] = [*message.get("headers", ()), *timing_headers(context)]
            await send(message)

        try:
            refused, receive = await self._door.look(scope, receive)
            if refused is None:
                await self._app(
                    scope, self._bounded(scope, headers, receive, share, lambda: begun), send_with_headers
                )
            else:
                await self._door.hold()
                await turned_away(refused, context, self._metrics)(scope, receive, send_with_headers)
        except Exception as error:
            if begun:  # half a reply cannot be taken back: the server closes the connection
                raise
            failures.error("request %s failed", context.id, exc_info=error)
            await _failed(context)(scope, receive, send_with_headers)
        finally:
            share.give_back()
            self._observe(scope, context, status)

    def _bounded(
        self, scope: Scope, headers: Headers, receive: Receive, share: Share, begun: Callable[[], bool]
    ) -> Receive:
        """`receive`, raising `RequestTooLarge` as soon as the body is known to pass the limit.

        Raises `Overloaded` as soon as it would not fit beside those of other requests, and `BodyStalled`
        where nothing of it comes for `STALL_SECONDS`; none of them once the reply has `begun`.
        """
        setting, limit = self._body_limit
        counted = True
        if headers.get("content-type", "").startswith("multipart/") and scope["path"] in self._upload_limits:
            setting, limit = self._upload_limits[scope["path"]]
            counted = False  # archives are spooled to the disk
        declared = headers.get("content-length", "")
        length = int(declared) if declared.isdecimal() else 0
        received, complete = 0, False

        async def bounded() -> Message:
            nonlocal received, complete
            if complete or begun():
                return await receive()
            if length > limit:
                raise _too_large(length, limit, setting)
            if counted and not received:
                self._bodies.check(length)
            try:
                async with asyncio.timeout(STALL_SECONDS):
                    message = await receive()
            except TimeoutError:
                raise BodyStalled(
                    f"nothing more of the body came for {STALL_SECONDS:.0f} s, after {received:,} bytes"
                ) from None
            received += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if received > limit:
                raise _too_large(received, limit, setting)
            if counted:
                share.hold(received)
            return message

        return bounded

    def _observe(self, scope: Scope, context: RequestContext, status: int) -> None:
        at_door = scope["path"] if scope["path"] in PATHS else "unmatched"
        route = getattr(scope.get("route"), "path", at_door)
        seconds = time.perf_counter() - context.started
        self._metrics.requests.labels(route, str(status)).observe(seconds)
        for stage in STAGES:
            spent = getattr(context, stage)
            if spent:
                self._metrics.stages.labels(stage).observe(spent)
        log.debug("%s %s %s %d %.1f ms", context.id, scope["method"], scope["path"], status, seconds * 1e3)


def _failed(context: RequestContext) -> JsonReply:
    message = f"the service failed on this request; its log has the cause under {context.id}"
    return JsonReply(framework_body(500, message, None, context.id), 500)


def turned_away(error: Overloaded, context: RequestContext, metrics: Metrics) -> JsonReply:
    """What a request that the door turned away is told; it is counted."""
    metrics.rejected.labels(error.code).inc()
    return JsonReply(error_body(error, context.id), status_of(error), {"retry-after": str(error.retry_after)})


def timing_headers(context: RequestContext) -> list[tuple[bytes, bytes]]:
    """The headers with a request's id and where its time went."""
    times = context.milliseconds()
    timing = ", ".join(f"{name};dur={ms:g}" for name, ms in times.items())
    return [
        (b"x-request-id", context.id.encode("latin-1", "replace")),
        (b"server-timing", timing.encode()),
        *((f"x-{name}-time".encode(), f"{ms:g}".encode()) for name, ms in times.items()),
    ]


def _too_large(size: int, limit: int, setting: str) -> RequestTooLarge:
    return RequestTooLarge(
        f"the request's body has {size:,} bytes or more; the limit is {limit:,} (ISTHMUS_{setting.upper()})",
        "body",
    )

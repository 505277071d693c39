"""The middleware around every request: its id, the timing headers, the metrics.

It also answers unexpected errors, with a 500 that has the same headers. It is plain ASGI: it never buffers a
body and costs microseconds.
"""

import logging
import time

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.http.error_replies import framework_body
from service.http.replies import JsonReply
from service.http.request_state import RequestState, open_state
from service.metrics import Metrics

log = logging.getLogger("isthmus.requests")
failures = logging.getLogger("isthmus")

ROUTE_KEY = "isthmus.route"
"""The scope's key for the path of a request that the load shedder refused before a route was found."""


class RequestMiddleware:
    """ASGI middleware around the whole app."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = open_state(scope, Headers(scope=scope).get("x-request-id"))
        status, begun = 500, False

        async def send_with_headers(message: Message) -> None:
            nonlocal status, begun
            if message["type"] == "http.response.start":
                status, begun = message["status"], True
                message["headers"] = [*message.get("headers", ()), *timing_headers(state)]
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except Exception as error:
            if begun:  # half a reply cannot be taken back: the server closes the connection
                raise
            failures.error("request %s failed", state.id, exc_info=error)
            await _failed(state)(scope, receive, send_with_headers)
        finally:
            self._observe(scope, state, status)

    def _observe(self, scope: Scope, state: RequestState, status: int) -> None:
        route = getattr(scope.get("route"), "path", scope.get(ROUTE_KEY, "unmatched"))
        seconds = time.perf_counter() - state.timings.started
        self._metrics.requests.labels(route, str(status)).observe(seconds)
        for stage, spent in state.timings.seconds().items():
            if spent:
                self._metrics.stages.labels(stage).observe(spent)
        log.debug("%s %s %s %d %.1f ms", state.id, scope["method"], scope["path"], status, seconds * 1e3)


def timing_headers(state: RequestState) -> list[tuple[bytes, bytes]]:
    """Return the headers with a request's id and where its time went."""
    times = state.timings.milliseconds()
    timing = ", ".join(f"{name};dur={ms:g}" for name, ms in times.items())
    return [
        (b"x-request-id", state.id.encode("latin-1", "replace")),
        (b"server-timing", timing.encode()),
        *((f"x-{name}-time".encode(), f"{ms:g}".encode()) for name, ms in times.items()),
    ]


def _failed(state: RequestState) -> JsonReply:
    message = f"the service failed on this request; its log has the cause under {state.id}"
    return JsonReply(framework_body(500, message, None, state.id), 500)

"""Load shedding: refuse a request before its body is parsed, where its queue is known to be full.

Holds `LoadShedder`, a plain ASGI middleware. Ten times too many requests are then refused at a fraction of
the cost of parsing them, and those accepted keep the processor. The first bytes of a JSON body tell the
queue; where they do not, the request goes on to the operation, whose own admission decides.
"""

import asyncio
import math
import re
from collections.abc import Callable, Mapping

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.engine.engine import Engine
from service.errors import Overloaded
from service.http.error_replies import error_body, status_of
from service.http.middleware import ROUTE_KEY
from service.http.replies import JsonReply
from service.http.request_state import TIMEOUT_HEADER, id_of
from service.metrics import Metrics
from service.schemas.fields import MEDIA_FIELDS

HOLD_SECONDS = 0.25
"""Seconds that the first refused request waits, to be answered with all refused meanwhile. It bounds what
clients that retry at once cost: four refusals a second for each of their connections."""
PEEK_SECONDS = 1.0
"""Seconds to wait here for a body's first bytes; a request without any goes on to the operation."""
PATHS = frozenset({"/embed", "/v1/embeddings"})
PEEK_BYTES = 2048
FIRST_MEDIA = re.compile(rb'"(%b|input)"\s*:\s*(?:\[\s*)?"' % "|".join(MEDIA_FIELDS).encode())
"""The first piece of media in a JSON body; `input` followed by a string is a text."""
METADATA = b'"metadata"'
"""A "text" after it may be the client's own and no media."""

MODALITY_OF: Mapping[bytes, str] = {b"input": "text", **{name.encode(): name for name in MEDIA_FIELDS}}


class LoadShedder:
    """ASGI middleware that refuses what a full queue cannot take.

    `ready_engine` returns the engine while requests are answered, and None before and after: while the
    service drains a client must learn that, and not that a queue is full.
    """

    def __init__(
        self, app: ASGIApp, ready_engine: Callable[[], Engine | None], timeout: float, metrics: Metrics
    ) -> None:
        self._app = app
        self._ready_engine = ready_engine
        self._timeout = timeout
        self._metrics = metrics
        self._held: list[asyncio.Future[None]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on, or refuse it."""
        engine = self._ready_engine()
        if (
            engine is None
            or scope["type"] != "http"
            or scope["path"] not in PATHS
            or scope["method"] != "POST"
            or not engine.admission.full(self._timeout)
        ):
            await self._app(scope, receive, send)
            return
        refused, receive = await self._peek(engine, scope, receive)
        if refused is None:
            await self._app(scope, receive, send)
            return
        await self._hold()
        self._metrics.rejected.labels(refused.code).inc()
        scope[ROUTE_KEY] = scope["path"]
        headers = {"retry-after": str(refused.retry_after)}
        body = error_body(refused, id_of(scope))
        await JsonReply(body, status_of(refused), headers)(scope, receive, send)

    async def _peek(
        self, engine: Engine, scope: Scope, receive: Receive
    ) -> tuple[Overloaded | None, Receive]:
        """Return why a request is refused, or None; and the `receive` that yields the whole body."""
        headers = Headers(scope=scope)
        if not headers.get("content-type", "application/json").lower().startswith("application/json"):
            return None, receive
        try:
            async with asyncio.timeout(PEEK_SECONDS):
                first = await receive()
        except TimeoutError:
            return None, receive
        # The operation decides whether a request's own deadline can be kept.
        seconds_left = math.inf if TIMEOUT_HEADER in headers else self._timeout
        modality = first_modality(first.get("body", b""))
        refused = None if modality is None else engine.refusal(modality, seconds_left)
        return refused, _replaying(first, receive)

    async def _hold(self) -> None:
        """Wait until all requests refused lately are answered together.

        Clients that retry immediately, whatever Retry-After says, would keep the event loop from answering
        anybody else; and for every single answer the encoders would wait for the interpreter.
        """
        loop = asyncio.get_running_loop()
        if not self._held:
            loop.call_later(HOLD_SECONDS, self._release)
        released = loop.create_future()
        self._held.append(released)
        await released

    def _release(self) -> None:
        held, self._held = self._held, []
        for released in held:
            if not released.done():
                released.set_result(None)


def first_modality(body: bytes) -> str | None:
    """Return the modality of the first media in a JSON body's beginning, or None where it is not clear."""
    found = FIRST_MEDIA.search(body, 0, PEEK_BYTES)
    if found is None or METADATA in body[: found.start()]:
        return None
    return MODALITY_OF[found[1]]


def _replaying(first: Message, receive: Receive) -> Receive:
    """Return a `receive` that returns a message that was taken already first."""
    waiting = [first]

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay

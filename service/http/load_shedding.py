"""Load shedding: refuses a request before its body is parsed, where the queue it is for is known to be full.

Holds `LoadShedder`, a plain ASGI middleware. Ten times too many requests are then answered at a fraction of
what parsing them costs, and those accepted keep the processor. The queue is told from the first bytes of a
JSON body; where these do not tell it, the request goes on to the operation, whose own admission decides.
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

HOLD_SECONDS = 0.05
"""Seconds that the first refused waits, until all who came meanwhile are refused with it."""
PEEK_SECONDS = 1.0
"""Seconds that the first bytes of a body are waited for here; a client that sends none is the operation's."""
PATHS = frozenset({"/embed", "/v1/embeddings"})
PEEK_BYTES = 2048
FIRST_MEDIA = re.compile(rb'"(%b|input)"\s*:\s*(?:\[\s*)?"' % "|".join(MEDIA_FIELDS).encode())
"""The first piece of media in a JSON body; `input` followed by a string is a text."""
METADATA = b'"metadata"'
"""What comes after it may be a client's own "text" and no media."""

MODALITY_OF: Mapping[bytes, str] = {b"input": "text", **{name.encode(): name for name in MEDIA_FIELDS}}


class LoadShedder:
    """ASGI middleware that refuses what a full queue has no room for.

    `ready_engine` gives the engine while requests are answered, and None before and after: a client that
    comes while the service drains is to hear that, and not to wait here for room.
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
        """Return why a request is refused, or None; and what the rest reads the body from."""
        headers = Headers(scope=scope)
        if not headers.get("content-type", "application/json").lower().startswith("application/json"):
            return None, receive
        try:
            async with asyncio.timeout(PEEK_SECONDS):
                first = await receive()
        except TimeoutError:
            return None, receive
        # Whether a deadline of its own can be kept is for the operation to say.
        seconds_left = math.inf if TIMEOUT_HEADER in headers else self._timeout
        modality = first_modality(first.get("body", b""))
        refused = None if modality is None else engine.refusal(modality, seconds_left)
        return refused, _replaying(first, receive)

    async def _hold(self) -> None:
        """Wait until all those refused lately are told so, at once.

        Clients that try again at once, whatever Retry-After says, would have the event loop answer nobody
        else; and between one answer and the next the encoders would have to wait for the interpreter.
        """
        loop = asyncio.get_running_loop()
        if not self._held:
            loop.call_later(HOLD_SECONDS, self._tell)
        told = loop.create_future()
        self._held.append(told)
        await told

    def _tell(self) -> None:
        held, self._held = self._held, []
        for told in held:
            if not told.done():
                told.set_result(None)


def first_modality(body: bytes) -> str | None:
    """Return the modality of the first media in a JSON body that begins so, or None where it is not clear."""
    found = FIRST_MEDIA.search(body, 0, PEEK_BYTES)
    if found is None or METADATA in body[: found.start()]:
        return None
    return MODALITY_OF[found[1]]


def _replaying(first: Message, receive: Receive) -> Receive:
    """Return `receive`, giving a message that was taken already first."""
    waiting = [first]

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay

"""Limits on request bodies: the size of each, the sum of those in memory, and how slowly one may arrive.

Holds `BodyLimits`, a plain ASGI middleware. Bodies are read before their content is known, so with a limit on
each alone a few dozen large ones would fill the memory. Small ones are not counted: a client that sends a
large one slowly must not keep small requests out.
"""

import asyncio
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import BodyStalled, Overloaded, RequestTooLarge
from service.metrics import Metrics
from service.settings import Settings

SMALL_BYTES = 256 * 1024
"""A body up to this size is not counted."""
RETRY_SECONDS = 2
"""Seconds after which a refused client should try again; the time that others need to send is not known."""
STALL_SECONDS = 30.0
"""Longest pause of a client within a body, in seconds."""
UPLOADS = "/jobs/ingest"
"""The path whose forms may be as large as an archive."""


class BodyBudget:
    """The bytes of bodies held in memory, over all requests. Used from the event loop only."""

    def __init__(self, most: int) -> None:
        self.held = 0
        self._most = most

    def check(self, size: int, own: int = 0) -> None:
        """Raise `Overloaded` where a body of this size, `own` of it held, does not fit beside the others.

        Alone it always fits.
        """
        others = self.held - own
        if size > SMALL_BYTES and others and others + size > self._most:
            raise Overloaded(
                f"other requests' bodies have {others:,} bytes; {size:,} more would pass "
                f"{self._most:,} (ISTHMUS_BODY_BYTES); try again in {RETRY_SECONDS} s",
                RETRY_SECONDS,
            )


class HeldBody:
    """The bytes that one request holds of a budget."""

    def __init__(self, budget: BodyBudget) -> None:
        self._budget = budget
        self._held = 0

    def hold(self, received: int) -> None:
        """Hold so many bytes, all received so far. Raises `Overloaded`, and then holds as many as before."""
        if received <= SMALL_BYTES:
            return
        self._budget.check(received, self._held)
        self._budget.held += received - self._held
        self._held = received

    def release(self) -> None:
        """Give all bytes back."""
        self._budget.held -= self._held
        self._held = 0


class BodyLimits:
    """ASGI middleware that limits what is read of a request's body."""

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics) -> None:
        self._app = app
        self._budget = BodyBudget(settings.body_bytes)
        self._limit = ("max_body_bytes", settings.max_body_bytes)
        self._upload_limit = ("max_archive_bytes", settings.max_archive_bytes)
        metrics.body_bytes.set_function(lambda: self._budget.held)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on, its body within the limits."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        held = HeldBody(self._budget)
        begun = False

        async def noting_send(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, self._limited(scope, receive, held, lambda: begun), noting_send)
        finally:
            held.release()

    def _limited(self, scope: Scope, receive: Receive, held: HeldBody, begun: Callable[[], bool]) -> Receive:
        """Return `receive`, raising `RequestTooLarge` as soon as the body is known to pass the limit.

        Raises `Overloaded` as soon as it would not fit beside those of other requests, and `BodyStalled`
        where nothing of it comes for `STALL_SECONDS`; none of them once the reply has `begun`.
        """
        headers = Headers(scope=scope)
        is_upload = headers.get("content-type", "").startswith("multipart/") and scope["path"] == UPLOADS
        setting, limit = self._upload_limit if is_upload else self._limit
        counted = not is_upload  # archives are spooled to the disk
        declared = headers.get("content-length", "")
        length = int(declared) if declared.isdecimal() else 0
        received, complete = 0, False

        async def limited() -> Message:
            nonlocal received, complete
            if complete or begun():
                return await receive()
            if length > limit:
                raise _too_large(length, limit, setting)
            if counted and not received:
                self._budget.check(length)
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
                held.hold(received)
            return message

        return limited


def _too_large(size: int, limit: int, setting: str) -> RequestTooLarge:
    return RequestTooLarge(
        f"the request's body has {size:,} bytes or more; the limit is {limit:,} (ISTHMUS_{setting.upper()})",
        "body",
    )

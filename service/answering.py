"""Doing a request's work only as long as someone waits for it.

Holds `answer_within`, which every operation that embeds or searches runs its work in: the work is cancelled,
and leaves every queue, when the client goes away or the deadline passes.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import Request

from service.errors import DeadlineExceeded
from service.request_context import context_of, seconds_left

T = TypeVar("T")


class ClientGone(Exception):
    """The client closed the connection; nobody reads the reply."""


async def answer_within(request: Request, default_seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, whose request body must have been read already.

    Raises `DeadlineExceeded` past `X-Request-Timeout` (or `default_seconds`), `ClientGone` when the client
    disconnects, and whatever `work` raises.
    """
    try:
        left = seconds_left(request, default_seconds)
    except BaseException:
        work.close()
        raise
    working = asyncio.current_task()
    assert working is not None  # a coroutine that runs is some task's
    answered = False

    def stop(watched: "asyncio.Task[None]") -> None:
        if not (answered or watched.cancelled()):
            working.cancel()

    watcher = asyncio.ensure_future(_disconnected(request))
    watcher.add_done_callback(stop)
    deadline = asyncio.timeout(max(left, 0))
    try:
        async with deadline:
            return await work
    except TimeoutError:
        if not deadline.expired():
            raise
        times = context_of(request).milliseconds()
        raise DeadlineExceeded(f"not done within the deadline, after {times['total'] / 1000:.2f} s") from None
    except asyncio.CancelledError:
        if not watcher.done():
            raise
        working.uncancel()
        raise ClientGone from None
    finally:
        answered = True
        watcher.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass

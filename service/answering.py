"""Doing a request's work only as long as someone waits for it.

Holds `answer_within`, which every operation that embeds or searches runs its work in: the work is cancelled,
and leaves every queue, when the client goes away or the deadline passes.
"""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
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
    task = asyncio.ensure_future(work)
    watcher = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait((task, watcher), timeout=max(left, 0), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        if watcher.done():
            raise ClientGone
        times = context_of(request).milliseconds()
        raise DeadlineExceeded(f"not done within the deadline, after {times['total'] / 1000:.2f} s")
    finally:
        for each in (task, watcher):
            if not each.done():
                each.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await each


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass

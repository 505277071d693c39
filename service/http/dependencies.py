"""The dependency of every operation: the request with all that a route needs to answer it.

A route asks for `Ready` (refused while the service loads or drains) or `Loaded` (answered while it drains,
too) and receives a `Call`: the pipeline, the request's timings and deadline, and a way to work only as long
as the client waits for the answer.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, TypeVar

from fastapi import Depends
from fastapi.dependencies.models import Dependant
from starlette.requests import Request

from service.errors import DeadlineExceeded, InvalidRequest, NotFound, Unavailable
from service.http.request_state import seconds_left, state_of
from service.pipeline import Pipeline
from service.runtime import Runtime
from service.schemas.fields import DEFAULT_COLLECTION
from service.settings import Settings
from service.timings import Timings

T = TypeVar("T")


class ClientDisconnected(Exception):
    """The client closed the connection; nobody reads the reply."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request to an operation, and the service that answers it."""

    request: Request
    runtime: Runtime
    pipeline: Pipeline
    timings: Timings

    @property
    def settings(self) -> Settings:
        """The service's settings."""
        return self.runtime.settings

    def seconds_left(self) -> float:
        """Return the time until the request's deadline. Raises `InvalidRequest` for a bad header."""
        return seconds_left(self.request, self.settings.request_timeout)

    async def index(self, function: Callable[[], T]) -> T:
        """Run a call to the index or the media store on a thread of theirs, and time it."""
        return await self.pipeline.call_index(self.timings, function)

    async def within_deadline(self, work: Coroutine[Any, Any, T]) -> T:
        """Return the result of `work`, for which the request's body must have been read already.

        It is cancelled, and leaves every queue, when the client goes away or the deadline passes. Raises
        `DeadlineExceeded` then, `ClientDisconnected`, and whatever `work` raises.
        """
        try:
            left = self.seconds_left()
        except BaseException:
            work.close()
            raise
        working = asyncio.current_task()
        assert working is not None  # a coroutine that runs is some task's
        answered = False

        def stop(watched: "asyncio.Task[None]") -> None:
            if not (answered or watched.cancelled()):
                working.cancel()

        watcher = asyncio.ensure_future(_disconnected(self.request))
        watcher.add_done_callback(stop)
        deadline = asyncio.timeout(max(left, 0))
        try:
            async with deadline:
                return await work
        except TimeoutError:
            if not deadline.expired():
                raise
            seconds = self.timings.milliseconds()["total"] / 1000
            raise DeadlineExceeded(f"not done within the deadline, after {seconds:.2f} s") from None
        except asyncio.CancelledError:
            if not watcher.done():
                raise
            working.uncancel()
            raise ClientDisconnected from None
        finally:
            answered = True
            watcher.cancel()

    async def check_collection(self, name: str, param: str = "collection") -> None:
        """Raise `NotFound` for a collection that is not there; the default one is, though it be empty."""
        if name != DEFAULT_COLLECTION and not await self.index(partial(self.pipeline.index.has, name)):
            raise no_collection(name, param)

    def check_modality(self, name: str | None, param: str) -> None:
        """Raise `InvalidRequest` for a modality that the bundle does not embed."""
        space = self.pipeline.space
        if name is not None and name not in space.modalities:
            embedded = ", ".join(space.modalities)
            raise InvalidRequest(f"bundle {space.name} does not embed {name!r}; it embeds {embedded}", param)


def runtime_of(request: Request) -> Runtime:
    """Return the runtime of a request's app."""
    runtime: Runtime = request.app.state.runtime
    return runtime


def no_collection(name: str, param: str) -> NotFound:
    """Return the error for a collection that is not there."""
    return NotFound(
        f"there is no collection {name!r}: GET /collections lists those there are, storing into one makes it",
        param,
    )


def check_parameters(request: Request) -> None:
    """Raise `InvalidRequest` for a query parameter that the operation does not have."""
    if not request.scope["query_string"]:
        return
    known = _parameters(request.scope["route"].dependant)
    for name in request.query_params:
        if name not in known:
            has = f"it has {', '.join(sorted(known))}" if known else "it has none"
            raise InvalidRequest(f"there is no parameter {name[:100]!r} of this operation; {has}", name[:100])


def _parameters(dependant: Dependant) -> set[str]:
    names = {field.alias for field in dependant.query_params}
    return names.union(*(_parameters(each) for each in dependant.dependencies))


async def loaded(request: Request) -> Call:
    """Return the request's `Call`. Raises `Unavailable` until the service is loaded.

    Raises `InvalidRequest` for a query parameter that the operation does not have.
    """
    check_parameters(request)
    runtime = runtime_of(request)
    return Call(request, runtime, runtime.pipeline, state_of(request).timings)


async def ready(request: Request) -> Call:
    """Return the request's `Call`. Raises `Unavailable` while loading or draining."""
    runtime = runtime_of(request)
    if runtime.phase != "ready":
        raise Unavailable(f"the service is {runtime.phase}; try again")
    return await loaded(request)


Loaded = Annotated[Call, Depends(loaded)]
Ready = Annotated[Call, Depends(ready)]


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass

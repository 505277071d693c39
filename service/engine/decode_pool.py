"""The threads that read, decode and preprocess media, so that the event loop never does.

Holds `DecodePool`. It is given functions, runs them with each request in its turn, and gives their results to
the event loop; what nobody waits for any more is not started.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from service.engine.cores import compute_on
from service.engine.fair_queue import FairQueue

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Task(Generic[T]):
    """One function to run, and the future that waits for it."""

    function: Callable[[], T]
    future: "asyncio.Future[Timed[T]]"
    entered: float


@dataclass(frozen=True, slots=True)
class Timed(Generic[T]):
    """A result, the seconds it waited for a thread and the seconds it took."""

    value: T
    waited: float
    took: float


class DecodePool:
    """A fixed number of threads over a fair queue. `run` is for the event loop; close it when done."""

    def __init__(self, threads: int) -> None:
        self._queue: FairQueue[Task[Any]] = FairQueue()
        self._ready = threading.Condition()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, name=f"decode-{i}", daemon=True) for i in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    async def run(self, flow: Hashable, function: Callable[[], T]) -> Timed[T]:
        """Run a function in a thread, in its flow's turn; raises what it raises."""
        future: asyncio.Future[Timed[T]] = asyncio.get_running_loop().create_future()
        task = Task(function, future, time.perf_counter())
        with self._ready:
            self._queue.push(flow, task)
            self._ready.notify()
        try:
            return await future
        except asyncio.CancelledError:
            with self._ready:
                self._queue.discard(flow, task)
            raise

    def close(self) -> None:
        """Stop the threads, after what they are at."""
        with self._ready:
            self._closed = True
            self._ready.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        # One core a decode: the encoders have all of them.
        compute_on(1)
        while True:
            with self._ready:
                while not self._queue and not self._closed:
                    self._ready.wait()
                if self._closed:
                    return
                task = self._queue.pop()
            if task.future.cancelled():
                continue
            self._finish(task)

    def _finish(self, task: Task[T]) -> None:
        started = time.perf_counter()
        loop = task.future.get_loop()
        try:
            value = task.function()
        except Exception as error:
            loop.call_soon_threadsafe(fail, task.future, error)
        except BaseException as error:  # a decoder's panic must not take the thread with it
            loop.call_soon_threadsafe(fail, task.future, RuntimeError(f"{type(error).__name__}: {error}"))
        else:
            timed = Timed(value, started - task.entered, time.perf_counter() - started)
            loop.call_soon_threadsafe(settle, task.future, timed)


def settle(future: "asyncio.Future[T]", value: T) -> None:
    """Give a future its result, unless nobody waits for it any more."""
    if not future.done():
        future.set_result(value)


def fail(future: "asyncio.Future[Any]", error: Exception) -> None:
    """Give a future its exception, unless nobody waits for it any more."""
    if not future.done():
        future.set_exception(error)

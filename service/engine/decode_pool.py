"""The threads that read, decode and preprocess media, so that the event loop never does.

Holds `DecodePool`. It runs functions, each request in its turn, and hands their results to the event loop; a
function that nobody waits for any more is not started.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from service.engine.cores import compute_on
from service.engine.fair_queue import FairQueue
from service.errors import Unavailable

T = TypeVar("T")

log = logging.getLogger("isthmus")

STUCK_SECONDS = 60.0
"""Seconds at one item after which a thread counts as stuck."""
LONGEST_STOP = 10.0
"""Seconds the threads get to finish their last items."""


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
        self._begun = [0.0] * threads
        self._threads = [self._start(i) for i in range(threads)]

    async def run(self, flow: Hashable, function: Callable[[], T]) -> Timed[T]:
        """Run a function in a thread, in its flow's turn.

        Raises what it raises, and `Unavailable` once the pool is closed.
        """
        future: asyncio.Future[Timed[T]] = asyncio.get_running_loop().create_future()
        task = Task(function, future, time.perf_counter())
        with self._ready:
            if self._closed:
                raise Unavailable("the service is stopping")
            self._queue.push(flow, task)
            self._ready.notify()
        try:
            return await future
        except asyncio.CancelledError:
            with self._ready:
                self._queue.discard(flow, task)
            raise

    def answers(self) -> bool:
        """Return whether a thread is idle, or began its item less than `STUCK_SECONDS` ago."""
        now = time.perf_counter()
        return any(not begun or now - begun < STUCK_SECONDS for begun in self._begun)

    def revive(self) -> None:
        """Start a new thread for each that died."""
        with self._ready:
            dead = [i for i, thread in enumerate(self._threads) if not thread.is_alive()]
            if self._closed:
                return
            for i in dead:
                self._threads[i] = self._start(i)
        if dead:
            log.error("%d decoder threads died and were restarted", len(dead))

    def close(self) -> None:
        """Stop the threads after their items; what still waits fails with `Unavailable`.

        A thread that hangs is left behind: the process must end all the same.
        """
        with self._ready:
            self._closed = True
            waiting = [task for _, task in self._queue.in_turn()]
            self._queue = FairQueue()
            self._ready.notify_all()
        for task in waiting:
            self._tell(task, fail_future, Unavailable("the service is stopping"))
        latest = time.monotonic() + LONGEST_STOP
        for thread in self._threads:
            thread.join(max(0.0, latest - time.monotonic()))

    def _start(self, i: int) -> threading.Thread:
        self._begun[i] = 0.0
        thread = threading.Thread(target=self._work, args=(i,), name=f"decode-{i}", daemon=True)
        thread.start()
        return thread

    def _work(self, i: int) -> None:
        # One core a decode: the encoders have all of them.
        compute_on(1)
        while True:
            with self._ready:
                while not self._queue and not self._closed:
                    self._ready.wait()
                if self._closed:
                    return
                task = self._queue.pop()
            if not task.future.cancelled():
                self._begun[i] = time.perf_counter()
                self._finish(task)
                self._begun[i] = 0.0
            del task  # and with it a file's bytes, which nobody else holds while this thread waits

    def _finish(self, task: Task[T]) -> None:
        started = time.perf_counter()
        try:
            value = task.function()
        except Exception as error:
            self._tell(task, fail_future, error)
        except BaseException as error:  # a decoder's panic must not take the thread with it
            self._tell(task, fail_future, RuntimeError(f"{type(error).__name__}: {error}"))
        else:
            timed = Timed(value, started - task.entered, time.perf_counter() - started)
            self._tell(task, resolve_future, timed)

    @staticmethod
    def _tell(
        task: Task[T], resolve: "Callable[[asyncio.Future[Timed[T]], Any], None]", outcome: object
    ) -> None:
        """Resolve a task's future on its event loop, unless that has ended before the thread."""
        loop = task.future.get_loop()
        if not loop.is_closed():
            loop.call_soon_threadsafe(resolve, task.future, outcome)


def resolve_future(future: "asyncio.Future[T]", value: T) -> None:
    """Set a future's result, unless nobody waits for it any more."""
    if not future.done():
        future.set_result(value)


def fail_future(future: "asyncio.Future[Any]", error: Exception) -> None:
    """Set a future's exception, unless nobody waits for it any more."""
    if not future.done():
        future.set_exception(error)

"""A thread that computes for every encoder on the CPU: for one at a time, on one core or several.

A thread for which torch computes on several cores has helper threads of its own. As soon as there are more of
those than cores, OpenMP sends them to sleep at every step, and two cores are slower than one: so encoders
have no threads of their own, but take turns on these (`cpu_slots.py`).
"""

import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

from service.engine.cores import available_cores, compute_on, numa_nodes

log = logging.getLogger("isthmus.engine")

T = TypeVar("T")


class ComputeThread:
    """Runs functions one after the other, each with all of its cores. Close it when done."""

    def __init__(self, threads: int, cores: frozenset[int] | None = None) -> None:
        self.threads, self.cores = threads, cores
        self._tasks: SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = SimpleQueue()
        # A thread that hangs must not keep the process from ending.
        threading.Thread(target=self._work, name="compute", daemon=True).start()
        self.run(self._take_cores)
        compute_on(1)  # other threads' operations are small; torch gives new threads the number set last

    def run(self, function: Callable[[], T]) -> T:
        """Run a function on this thread, wait for it and return its result. Raises what it raises."""
        future: Future[T] = Future()
        self._tasks.put((function, future))
        return future.result()

    def close(self) -> None:
        """End the thread after the functions it was given."""
        self._tasks.put(None)

    def _take_cores(self) -> None:
        if self.cores:
            try:
                os.sched_setaffinity(0, self.cores)  # of this thread, and of those torch starts for it
            except OSError as error:
                log.warning("a compute thread runs on any core, it cannot be kept to its own: %s", error)
        compute_on(self.threads)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            function, future = task
            try:
                future.set_result(function())
            except BaseException as error:  # raised again where it is waited for, whatever it is
                future.set_exception(error)
            del task, function, future  # a batch and its vectors, while this waits for the next


def shares(copies: int) -> list[tuple[int, frozenset[int] | None]]:
    """Return each CPU copy's number of cores, and which they are: one socket's where there are several."""
    cores, nodes = available_cores(), numa_nodes()
    per_socket = copies > 1 and len(nodes) > 1
    return [
        (max(1, cores // copies + (i < cores % copies)), nodes[i % len(nodes)] if per_socket else None)
        for i in range(copies)
    ]

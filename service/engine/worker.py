"""The threads that feed one encoder: one, or one a copy of it where it has several.

Holds `EncoderWorker`: a queue of prepared items and the threads that have them embedded, a batch at a time,
as soon as one is idle; its `Replica` knows where a batch runs. A batch that fails is split until the item to
blame fails alone; one that does not fit in memory is halved; a thread that dies is noticed and replaced.
"""

import asyncio
import logging
import math
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from connectors.encoder import Encoder, Prepared
from connectors.errors import IsthmusError
from connectors.modality import Modality
from service.engine.arrival_prediction import ArrivalPrediction
from service.engine.batch import Encoded, QueuedItem, next_batch
from service.engine.decode_pool import fail_future, resolve_future
from service.engine.embedding import Vectors
from service.engine.fair_queue import FairQueue
from service.engine.replicas import Replica, RunContext
from service.errors import EncoderFailed, Unavailable

log = logging.getLogger("isthmus.engine")

Matrix = npt.NDArray[np.float32]
Encode = Callable[[Encoder, Sequence[Prepared]], tuple[Matrix, Matrix, str]]
"""Prepared items of one modality -> native [n, d] and unified [n, D] vectors, by one copy of the encoder, and
the version of the connector."""

SPEED_WEIGHT = 0.2
"""Weight of the latest batch in the measured seconds a row takes."""
LONGEST_STOP = 10.0
"""Seconds the threads get to finish their last batches."""
REGROW_AFTER = 64
"""Good batches after which a batch size that memory had limited is doubled again."""


class BatchObserver(Protocol):
    """Told of each batch that was run."""

    def __call__(self, encoder: str, modality: Modality, items: int, seconds: float) -> None:
        """One batch of `items` took `seconds`."""


class EncoderWorker:
    """One encoder's queue and threads. `submit` and `probe` are for the event loop."""

    def __init__(
        self,
        name: str,
        encode: Encode,
        replicas: Sequence[Replica],
        *,
        max_rows: int,
        batch_seconds: float,
        observe: BatchObserver,
    ) -> None:
        self.name = name
        self.restarts = 0
        self._encode = encode
        self._replicas = list(replicas)
        self._max_rows = max_rows
        self._memory_rows = max_rows
        self._good_batches = 0
        self._batch_seconds = batch_seconds
        self._observe = observe
        self._row_seconds: dict[Modality, float] = {}
        self._queue: FairQueue[QueuedItem] = FairQueue()
        self._running: list[list[QueuedItem]] = [[] for _ in self._replicas]
        self._begun = [0.0 for _ in self._replicas]
        self._lock = threading.Lock()
        self._ready = threading.Condition(self._lock)
        self._arrivals = ArrivalPrediction()
        self._wanted = 0
        self._complete = threading.Condition(self._lock)
        self._closed = False
        self._answered = 0.0
        self._threads = [self._start(i) for i in range(len(self._replicas))]

    @property
    def depth(self) -> int:
        """Items waiting, without those in the batch that runs."""
        return len(self._queue)

    @property
    def running(self) -> tuple[int, ...]:
        """Items in the batch that each copy of the encoder is at."""
        return tuple(len(jobs) for jobs in self._running)

    def submit(self, flow: Hashable, prepared: Prepared) -> "asyncio.Future[Encoded]":
        """Embed one item in its flow's turn; cancelling the future takes it out of the queue.

        The future raises `EncoderFailed`, or the `MediaError` the encoder raised.
        """
        future: asyncio.Future[Encoded] = asyncio.get_running_loop().create_future()
        with self._lock:
            if self._closed:
                raise Unavailable("the service is stopping")
            job = QueuedItem(flow, prepared, future, time.perf_counter())
            self._queue.push(flow, job)
            self._arrivals.asked(job.entered)
            self._ready.notify()
            if len(self._queue) == self._wanted:
                self._complete.notify()
        future.add_done_callback(partial(self._forget, flow, job))
        return future

    def _forget(self, flow: Hashable, job: QueuedItem, future: "asyncio.Future[Encoded]") -> None:
        """Let go at once of what a cancelled job holds: its room is another's by now."""
        if future.cancelled():
            with self._lock:
                self._queue.discard(flow, job)

    async def probe(self, sample: Prepared, fresh_seconds: float, timeout: float) -> bool:
        """Whether the encoder answers: it embedded something lately, or embeds `sample` in time.

        Of several copies none may be at one batch for longer than both.
        """
        revived, now = self.revive(), time.perf_counter()
        if any(begun and now - begun > fresh_seconds + timeout for begun in self._begun):
            return False
        if revived or now - self._answered > fresh_seconds:
            try:
                async with asyncio.timeout(timeout):
                    await self.submit("probe", sample)
            except (TimeoutError, IsthmusError):
                return False
        return True

    def revive(self) -> bool:
        """Start a new thread for each that died, failing the batch it died with; whether one had."""
        lost: list[QueuedItem] = []
        with self._lock:
            dead = [i for i, thread in enumerate(self._threads) if not thread.is_alive()]
            if not dead or self._closed:
                return False
            for i in dead:
                lost += self._running[i]
                self._running[i], self._begun[i] = [], 0.0
        log.error("a thread of the %s encoder died with %d items; it is restarted", self.name, len(lost))
        for job in lost:
            self._deliver([job], EncoderFailed(f"the {self.name} encoder stopped while it had this item"))
        for i in dead:
            self._threads[i] = self._start(i)
            self.restarts += 1
        return True

    def close(self) -> None:
        """Stop the threads after their batches; what still waits fails with `Unavailable`.

        A thread that hangs is left behind: the process must end all the same.
        """
        with self._lock:
            self._closed = True
            waiting = [job for _, job in self._queue.in_turn()]
            self._queue = FairQueue()
            self._ready.notify_all()
            self._complete.notify_all()
        self._deliver(waiting, Unavailable("the service is stopping"))
        latest = time.monotonic() + LONGEST_STOP
        for thread in self._threads:
            thread.join(max(0.0, latest - time.monotonic()))

    def _start(self, index: int) -> threading.Thread:
        thread = threading.Thread(
            target=self._work, args=(index,), name=f"encoder-{self.name}-{index}", daemon=True
        )
        thread.start()
        return thread

    def _work(self, index: int) -> None:
        replica = self._replicas[index]
        while True:
            with self._ready:
                while not self._queue and not self._closed:
                    self._ready.wait()
                if self._closed:
                    return
            self._run(replica, partial(self._take, index))
            self._running[index], self._begun[index] = [], 0.0

    def _take(self, index: int, place: RunContext) -> list[QueuedItem]:
        """The next batch, of all that waits or its share if there are others for the rest.

        It is taken when it can run, and no sooner: what comes until then goes with it.
        """
        with self._lock:
            if place.alone and self._queue:
                self._await_returns()
            share = math.ceil(len(self._queue) / place.among) if place.among > 1 else self._max_rows
            most = min(self._memory_rows, max(1, share))
            self._running[index] = next_batch(self._queue, most, self._rows_in_time())
            self._begun[index] = time.perf_counter()
            return self._running[index]

    def _await_returns(self) -> None:
        """Give those just answered a moment to be back, if they tend to be; the caller holds the lock."""
        self._wanted, seconds = self._arrivals.worth_waiting(len(self._queue), time.perf_counter())
        if seconds > 0 and not self._closed:
            self._complete.wait(seconds)

    def _expect_returns(self, jobs: list[QueuedItem], took: float) -> None:
        """Tell of a batch that had the processor to itself, just before it is answered."""
        modality = jobs[0].prepared.modality
        rows = min(self._memory_rows, self._rows_in_time().get(modality, self._max_rows))
        most = max(1, rows * len(jobs) // sum(job.rows for job in jobs))
        with self._lock:
            done = sum(job.flow not in self._queue for job in jobs)
            self._arrivals.answered(done, len(self._queue), most, took, time.perf_counter())

    def _rows_in_time(self) -> dict[Modality, int]:
        """Rows of each modality that, at the speed measured, are done within the time aimed at."""
        return {
            modality: int(self._batch_seconds / each) for modality, each in list(self._row_seconds.items())
        }

    def _run(self, replica: Replica, take: Callable[[RunContext], list[QueuedItem]]) -> None:
        """Run the batch that `take` gives, and one that fails again in halves.

        A single item that fails takes the blame.
        """
        jobs: list[QueuedItem] = []
        started = took = 0.0

        def encode(place: RunContext) -> tuple[Matrix, Matrix, str] | None:
            nonlocal jobs, started, took
            jobs, started = take(place), time.perf_counter()
            if not jobs:
                return None
            vectors = self._encode(place.encoder, [job.prepared for job in jobs])
            took = time.perf_counter() - started
            if place.alone:
                self._expect_returns(jobs, took)
            return vectors

        try:
            vectors = replica.run(encode, lambda: self.depth)
        except Exception as error:
            if not jobs:
                raise
            short_of_memory = _is_out_of_memory(error)
            if short_of_memory:
                self._memory_rows = max(1, sum(job.rows for job in jobs) // 2)
                self._good_batches = 0
            if len(jobs) == 1:
                self._blame(jobs, error)
                return
            # Its frames hold all that the failed batch had computed, memory which the halves need.
            error.__traceback__ = None
        else:
            if vectors is not None:
                self._finish(jobs, *vectors, started, took)
            return
        if short_of_memory and torch.cuda.is_available():
            torch.cuda.empty_cache()
        half = len(jobs) // 2
        self._run(replica, lambda place: jobs[:half])
        self._run(replica, lambda place: jobs[half:])

    def _finish(
        self,
        jobs: list[QueuedItem],
        native: Matrix,
        unified: Matrix,
        connector: str,
        started: float,
        took: float,
    ) -> None:
        """Hand out the vectors of a batch that went well."""
        self._measure(jobs, took)
        encoded = [
            Encoded(
                # Copies: a row must not keep its whole batch in memory.
                Vectors(native[i].copy(), unified[i].copy(), _tokens(job.prepared), connector),
                waited=started - job.entered,
                took=took,
            )
            for i, job in enumerate(jobs)
        ]
        self._deliver(jobs, encoded)

    def _blame(self, jobs: list[QueuedItem], error: Exception) -> None:
        """Fail a single item whose batch failed."""
        if isinstance(error, IsthmusError):
            self._deliver(jobs, error)
        else:
            log.exception("the %s encoder failed on an item", self.name, exc_info=error)
            self._deliver(jobs, EncoderFailed(f"the {self.name} encoder failed on this item"))

    def _measure(self, jobs: list[QueuedItem], took: float) -> None:
        modality = jobs[0].prepared.modality
        row_seconds = took / sum(job.rows for job in jobs)
        before = self._row_seconds.get(modality, row_seconds)
        self._row_seconds[modality] = before + (row_seconds - before) * SPEED_WEIGHT
        self._answered = time.perf_counter()
        self._good_batches += 1
        if self._good_batches % REGROW_AFTER == 0:
            self._memory_rows = min(self._max_rows, self._memory_rows * 2)
        self._observe(self.name, modality, len(jobs), took)

    @staticmethod
    def _deliver(jobs: Sequence[QueuedItem], outcome: Sequence[Encoded] | IsthmusError) -> None:
        """Settle the jobs' futures on their event loop, in one hop."""
        if not jobs:
            return

        def settle_all() -> None:
            if isinstance(outcome, IsthmusError):
                for job in jobs:
                    fail_future(job.future, outcome)
            else:
                for job, encoded in zip(jobs, outcome, strict=True):
                    resolve_future(job.future, encoded)

        loop = jobs[0].future.get_loop()
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle_all)


def _tokens(prepared: Prepared) -> int:
    return prepared.length if prepared.modality == "text" else 0


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "allocate memory" in str(error)

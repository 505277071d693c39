"""The threads that feed one encoder: one per replica.

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
    """A callback for each batch that was run."""

    def __call__(self, encoder: str, modality: Modality, items: int, seconds: float) -> None:
        """Record that one batch of `items` took `seconds`."""


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
        """Items waiting, without those in running batches."""
        return len(self._queue)

    @property
    def running(self) -> tuple[int, ...]:
        """Items in each replica's running batch."""
        return tuple(len(items) for items in self._running)

    def submit(self, flow: Hashable, prepared: Prepared) -> "asyncio.Future[Encoded]":
        """Embed one item in its flow's turn; cancelling the future takes it out of the queue.

        The future raises `EncoderFailed`, or the `MediaError` the encoder raised.
        """
        future: asyncio.Future[Encoded] = asyncio.get_running_loop().create_future()
        with self._lock:
            if self._closed:
                raise Unavailable("the service is stopping")
            item = QueuedItem(flow, prepared, future, time.perf_counter())
            self._queue.push(flow, item)
            self._arrivals.asked(item.entered)
            self._ready.notify()
            if len(self._queue) == self._wanted:
                self._complete.notify()
        future.add_done_callback(partial(self._forget, flow, item))
        return future

    def _forget(self, flow: Hashable, item: QueuedItem, future: "asyncio.Future[Encoded]") -> None:
        """Take a cancelled item out of the queue at once: its reservation has been given back."""
        if future.cancelled():
            with self._lock:
                self._queue.discard(flow, item)

    async def probe(self, sample: Prepared, fresh_seconds: float, timeout: float) -> bool:
        """Return whether the encoder answers: it embedded something lately, or embeds `sample` in time.

        No replica may have been at one batch for longer than both.
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
        """Start a new thread for each that died, failing its batch; return whether one had died."""
        lost: list[QueuedItem] = []
        with self._lock:
            dead = [i for i, thread in enumerate(self._threads) if not thread.is_alive()]
            if not dead or self._closed:
                return False
            for i in dead:
                lost += self._running[i]
                self._running[i], self._begun[i] = [], 0.0
        log.error("a thread of the %s encoder died with %d items; it is restarted", self.name, len(lost))
        for item in lost:
            self._deliver([item], EncoderFailed(f"the {self.name} encoder stopped while it had this item"))
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
            waiting = [item for _, item in self._queue.in_turn()]
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
        while True:
            with self._ready:
                while not self._queue and not self._closed:
                    self._ready.wait()
                if self._closed:
                    return
            self._run(index, partial(self._take, index))
            self._running[index], self._begun[index] = [], 0.0

    def _take(self, index: int, context: RunContext) -> list[QueuedItem]:
        """Return the next batch: of all that waits, or a share of it where others take the rest.

        It is taken when it can run, and no sooner: what arrives until then goes with it.
        """
        with self._lock:
            if context.alone and self._queue:
                self._await_arrivals()
            share = math.ceil(len(self._queue) / context.among) if context.among > 1 else self._max_rows
            most = min(self._memory_rows, max(1, share))
            self._running[index] = next_batch(self._queue, most, self._rows_in_time())
            self._begun[index] = time.perf_counter()
            return self._running[index]

    def _await_arrivals(self) -> None:
        """Wait a moment for clients just answered, if they tend to ask again; the caller holds the lock."""
        self._wanted, seconds = self._arrivals.worth_waiting(len(self._queue), time.perf_counter())
        if seconds > 0 and not self._closed:
            self._complete.wait(seconds)

    def _record_batch(self, items: list[QueuedItem], took: float) -> None:
        """Record a batch that had the processor to itself, just before it is answered."""
        modality = items[0].prepared.modality
        rows = min(self._memory_rows, self._rows_in_time().get(modality, self._max_rows))
        most = max(1, rows * len(items) // sum(item.rows for item in items))
        with self._lock:
            done = sum(item.flow not in self._queue for item in items)
            self._arrivals.answered(done, len(self._queue), most, took, time.perf_counter())

    def _rows_in_time(self) -> dict[Modality, int]:
        """Return each modality's rows that, at the speed measured, are done within the time aimed at."""
        return {
            modality: int(self._batch_seconds / each) for modality, each in list(self._row_seconds.items())
        }

    def _run(self, index: int, take: Callable[[RunContext], list[QueuedItem]]) -> None:
        """Run the batch that `take` returns; run one that fails again in halves.

        A single item that fails takes the blame.
        """
        items: list[QueuedItem] = []
        started = took = 0.0

        def encode(context: RunContext) -> tuple[Matrix, Matrix, str] | None:
            nonlocal items, started, took
            items, started = take(context), time.perf_counter()
            if not items:
                return None
            vectors = self._encode(context.encoder, [item.prepared for item in items])
            took = time.perf_counter() - started
            if context.alone:
                self._record_batch(items, took)
            return vectors

        try:
            vectors = self._replicas[index].run(encode, lambda: self.depth)
        except Exception as error:
            if not items:
                raise
            short_of_memory = _is_out_of_memory(error)
            if short_of_memory:
                self._memory_rows = max(1, sum(item.rows for item in items) // 2)
                self._good_batches = 0
            if len(items) == 1:
                self._blame(items, error)
                return
            # Its frames hold all that the failed batch had computed, memory which the halves need.
            error.__traceback__ = None
        else:
            if vectors is not None:
                self._finish(items, *vectors, started, took)
            return
        if short_of_memory and torch.cuda.is_available():
            torch.cuda.empty_cache()
        half = len(items) // 2
        for part in (items[:half], items[half:]):
            self._begun[index] = time.perf_counter()
            self._run(index, _always(part))

    def _finish(
        self,
        items: list[QueuedItem],
        native: Matrix,
        unified: Matrix,
        connector: str,
        started: float,
        took: float,
    ) -> None:
        """Hand out the vectors of a batch that went well."""
        self._measure(items, took)
        encoded = [
            Encoded(
                # Copies: a row must not keep its whole batch in memory.
                _vectors(native[i].copy(), unified[i].copy(), item.prepared, connector),
                waited=started - item.entered,
                took=took,
            )
            for i, item in enumerate(items)
        ]
        self._deliver(items, encoded)

    def _blame(self, items: list[QueuedItem], error: Exception) -> None:
        """Fail a single item whose batch failed."""
        if isinstance(error, IsthmusError):
            self._deliver(items, error)
        else:
            log.exception("the %s encoder failed on an item", self.name, exc_info=error)
            self._deliver(items, EncoderFailed(f"the {self.name} encoder failed on this item"))

    def _measure(self, items: list[QueuedItem], took: float) -> None:
        modality = items[0].prepared.modality
        row_seconds = took / sum(item.rows for item in items)
        before = self._row_seconds.get(modality, row_seconds)
        self._row_seconds[modality] = before + (row_seconds - before) * SPEED_WEIGHT
        self._answered = time.perf_counter()
        self._good_batches += 1
        if self._good_batches % REGROW_AFTER == 0:
            self._memory_rows = min(self._max_rows, self._memory_rows * 2)
        self._observe(self.name, modality, len(items), took)

    @staticmethod
    def _deliver(items: Sequence[QueuedItem], outcome: Sequence[Encoded] | IsthmusError) -> None:
        """Resolve the items' futures on their event loop, in one hop."""
        if not items:
            return

        def resolve_all() -> None:
            if isinstance(outcome, IsthmusError):
                for item in items:
                    fail_future(item.future, outcome)
            else:
                for item, encoded in zip(items, outcome, strict=True):
                    resolve_future(item.future, encoded)

        loop = items[0].future.get_loop()
        if not loop.is_closed():
            loop.call_soon_threadsafe(resolve_all)


def _always(items: list[QueuedItem]) -> Callable[[RunContext], list[QueuedItem]]:
    """Return a function that takes these items, whatever the context."""
    return lambda context: items


def _vectors(native: Matrix, unified: Matrix, prepared: Prepared, connector: str) -> Vectors:
    tokens = prepared.length if prepared.modality == "text" else 0
    return Vectors(native, unified, tokens, connector, prepared.given, prepared.understood)


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "allocate memory" in str(error)

"""The ingest job: a source's items, read, embedded and stored batch by batch.

Holds `IngestJob`. Several batches are under way at once; they are accounted for in their order, each when its
points are durable, so that a job which is killed goes on from there. What it had stored beyond is stored
again under the same ids, or found to be there already.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any, TypeVar

from connectors.errors import IsthmusError
from service.engine.media_input import MediaInput
from service.entry import Entry, Outcome, embed_inputs, store
from service.errors import IndexUnavailable, MediaStoreUnavailable, Overloaded, Unavailable
from service.index.protocol import StoredPoint
from service.ingest.batches import Batch, Batches, Loaded
from service.ingest.manifest import Place
from service.ingest.params import IngestParams
from service.ingest.source import Source
from service.jobs.record import Fault
from service.jobs.work import Work
from service.request_context import RequestContext

if TYPE_CHECKING:
    from service.runtime import Runtime

T = TypeVar("T")

AHEAD = 3
"""Batches under way at once: one is read or decoded while one is embedded and one stored."""
INDEX_CALLS = 2
"""Calls to the index and the media store at once: requests need threads for theirs."""
REPORT_SECONDS = 0.5
"""Time between two checkpoints."""
PATIENCE = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Seconds to wait before each new try of what failed for no fault of the items."""
LONGEST_WAIT = 5.0
"""Most seconds to wait, over and over, for room in a queue."""
NO_DEADLINE = 86_400.0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is: what became of its items, and the place behind them. Its checkpoint."""

    stored: int = 0
    unchanged: int = 0
    failed: int = 0
    place: Place = field(default_factory=Place)

    @property
    def done(self) -> int:
        """Items behind it."""
        return self.stored + self.unchanged + self.failed

    @classmethod
    def from_checkpoint(cls, checkpoint: Mapping[str, Any]) -> "Progress":
        """The progress that `asdict` made a checkpoint of."""
        return cls(**{**checkpoint, "place": Place(**checkpoint["place"])})


@dataclass(frozen=True, slots=True)
class Accounted:
    """What became of one batch."""

    stored: int
    unchanged: int
    faults: list[Fault]


class IngestJob:
    """`service.jobs.work.JobKind` for ingesting."""

    name = "ingest"
    unit = "items"

    def __init__(self, runtime: "Runtime") -> None:
        self._runtime = runtime
        self._index_calls = asyncio.Semaphore(INDEX_CALLS)

    async def run(self, work: Work) -> Mapping[str, Any]:
        """Ingest what is left of a job; its result says what became of the items."""
        params = IngestParams(**work.params)
        folder = self._runtime.inputs.folder(params.input)
        progress = Progress.from_checkpoint(work.checkpoint) if work.checkpoint else Progress()
        if work.record.total is None or progress.done < work.record.total:
            with await asyncio.to_thread(
                Source, params.source, params.path, folder, self._runtime.settings
            ) as source:
                if work.checkpoint is None:
                    total = await asyncio.to_thread(source.prepare)
                    await work.report(total=total, checkpoint=asdict(progress))
                progress = await self._run(work, params, source, progress)
        await asyncio.to_thread(self._runtime.inputs.remove, params.input)
        return {"stored": progress.stored, "unchanged": progress.unchanged, "failed": progress.failed}

    async def discard(self, work: Work) -> None:
        """Remove what a cancelled job was given; what it stored stays."""
        await asyncio.to_thread(self._runtime.inputs.remove, IngestParams(**work.params).input)

    async def _run(self, work: Work, params: IngestParams, source: Source, progress: Progress) -> Progress:
        settings = self._runtime.settings
        batches = Batches(
            source,
            progress.place,
            # At most half of what may wait for an encoder: requests must find room.
            max_items=max(1, min(settings.max_batch, settings.queue_items // (2 * AHEAD))),
            collection=params.collection,
            metadata=params.metadata,
        )
        flights: deque[tuple[Batch, asyncio.Task[Accounted]]] = deque()
        faults: list[Fault] = []
        reported = time.monotonic()
        batch = await asyncio.to_thread(batches.next)
        try:
            while batch is not None or flights:
                in_the_way = batch is None or len(flights) == AHEAD
                if not in_the_way and batch is not None:
                    in_the_way = any(batch.keys & each.keys for each, _ in flights)
                if batch is not None and not in_the_way:
                    flights.append((batch, asyncio.create_task(self._ingest(work, batch))))
                    batch = await asyncio.to_thread(batches.next)
                    continue
                first, flight = flights[0]
                accounted = await flight
                flights.popleft()
                faults += accounted.faults
                progress = Progress(
                    progress.stored + accounted.stored,
                    progress.unchanged + accounted.unchanged,
                    progress.failed + len(accounted.faults),
                    first.after,
                )
                due = time.monotonic() - reported > REPORT_SECONDS
                if due or work.interrupted or not (flights or batch):
                    found, faults = faults, []
                    await work.report(done=progress.done, faults=found, checkpoint=asdict(progress))
                    reported = time.monotonic()
        finally:
            for _, flight in flights:
                flight.cancel()
            await asyncio.gather(*(flight for _, flight in flights), return_exceptions=True)
        return progress

    async def _ingest(self, work: Work, batch: Batch) -> Accounted:
        """Embed and store a batch; its points are durable on return."""
        faults = list(batch.faults)
        stored = 0
        by_collection = sorted(batch.items, key=lambda each: each.key[0])
        for collection, group in groupby(by_collection, key=lambda each: each.key[0]):
            items = list(group)
            known = await self._patiently(work, partial(self._known, collection, items))
            fresh = [each for each in items if not self._is_current(each, known.get(each.key[1]))]
            outcomes = await self._patiently(work, partial(self._embed, fresh))
            failed = [
                Fault.of(item.name, outcome)
                for item, outcome in zip(fresh, outcomes, strict=True)
                if isinstance(outcome, IsthmusError)
            ]
            if len(failed) < len(fresh):
                entries = [each.entry for each in fresh]
                await self._patiently(work, partial(self._store, collection, entries, outcomes))
            faults += failed
            stored += len(fresh) - len(failed)
        return Accounted(stored, len(batch.items) + len(batch.faults) - stored - len(faults), faults)

    async def _known(self, collection: str, items: list[Loaded]) -> dict[str, StoredPoint]:
        index = self._runtime.index
        ids = [each.key[1] for each in items]
        async with self._index_calls:
            found = await self._runtime.call_index(RequestContext(), partial(index.get, collection, ids))
        return {point.id: point for point in found}

    def _is_current(self, item: Loaded, point: StoredPoint | None) -> bool:
        """Whether a stored point is this item, embedded by what is in use."""
        if point is None or point.payload.get("connector") != self._runtime.space.connector_version:
            return False
        media = item.entry.item
        wanted = media.modality if isinstance(media, MediaInput) else None
        return (
            point.payload.get("sha256") == item.sha256
            and point.payload.get("metadata") == item.entry.metadata
            and wanted in (None, point.modality)
        )

    async def _embed(self, items: list[Loaded]) -> list[Outcome]:
        inputs = [each.entry.item for each in items]
        outcomes = await embed_inputs(self._runtime, RequestContext(), inputs, NO_DEADLINE) if inputs else []
        for outcome in outcomes:
            if isinstance(outcome, Unavailable):
                raise outcome
        return outcomes

    async def _store(self, collection: str, entries: list[Entry], outcomes: list[Outcome]) -> None:
        async with self._index_calls:
            writing = asyncio.ensure_future(
                store(self._runtime, RequestContext(), collection, entries, outcomes)
            )
            try:
                await asyncio.shield(writing)
            except asyncio.CancelledError:
                # A thread that writes cannot be stopped: the job has not ended before it has.
                await asyncio.wait([writing])
                raise

    @staticmethod
    async def _patiently(work: Work, attempt: Callable[[], Awaitable[T]]) -> T:
        """Try again what failed for no fault of the items: a full queue, a part that does not answer."""
        waits = iter(PATIENCE)
        while True:
            try:
                return await attempt()
            except Overloaded as error:
                await asyncio.sleep(min(error.retry_after, LONGEST_WAIT))
            except (Unavailable, IndexUnavailable, MediaStoreUnavailable):
                if (wait := next(waits, None)) is None:
                    raise
                await asyncio.sleep(wait)
            work.check()

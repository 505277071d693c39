"""The ingest job: a source's items, read, embedded and stored batch by batch.

Holds `IngestJob`. Several batches are under way at once; they are accounted for in their order, each when its
points are durable, so that a killed job goes on from there. Points stored beyond that are stored again under
the same ids, or found to be there already.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import groupby
from typing import Any, TypeVar

from connectors.errors import IsthmusError
from service.engine.embedding import Embedding
from service.errors import IndexUnavailable, MediaStoreUnavailable, Overloaded, Unavailable
from service.index.protocol import StoredPoint
from service.ingest.batches import Batch, Batches, Loaded
from service.ingest.inputs import IngestInputs, IngestParams
from service.ingest.manifest import Position
from service.ingest.source import IngestSource
from service.jobs.record import Fault
from service.jobs.work import Work
from service.pipeline import EmbedInput, Outcome, Pipeline, refuse_not_understood
from service.schemas.validation import same_json
from service.settings import Settings
from service.timings import Timings

T = TypeVar("T")

AHEAD = 3
"""Batches under way at once: one is read or decoded while one is embedded and one stored."""
INDEX_CALLS = 2
"""Calls to the index and the media store at once: requests need threads for theirs."""
REPORT_SECONDS = 0.5
"""Time between two checkpoints."""
PATIENCE = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Seconds to wait before each retry of a failure that is no item's fault."""
LONGEST_WAIT = 5.0
"""Most seconds of each wait for a full queue; there may be many."""
NO_DEADLINE = 86_400.0


@dataclass(frozen=True, slots=True)
class Progress:
    """A job's progress: the outcomes of its items, and the position behind them. Its checkpoint."""

    stored: int = 0
    unchanged: int = 0
    failed: int = 0
    position: Position = field(default_factory=Position)
    truncated: int = 0

    @property
    def done(self) -> int:
        """The number of items accounted for."""
        return self.stored + self.unchanged + self.failed

    @classmethod
    def from_checkpoint(cls, checkpoint: Mapping[str, Any]) -> "Progress":
        """Return the progress of a checkpoint that `asdict` made; 0.1.0 called the position `place`."""
        fields = {("position" if name == "place" else name): value for name, value in checkpoint.items()}
        return cls(**{**fields, "position": Position(**fields["position"])})


@dataclass(frozen=True, slots=True)
class Accounted:
    """The outcome of one batch; `truncated` of the items stored are texts that were cut."""

    stored: int
    unchanged: int
    truncated: int
    faults: list[Fault]


class IngestJob:
    """`service.jobs.work.JobKind` for ingesting."""

    name = "ingest"
    unit = "items"

    def __init__(self, pipeline: Pipeline, inputs: IngestInputs, settings: Settings) -> None:
        self._pipeline = pipeline
        self._inputs = inputs
        self._settings = settings
        self._index_calls = asyncio.Semaphore(INDEX_CALLS)

    async def run(self, work: Work) -> Mapping[str, Any]:
        """Ingest what is left of a job; its result counts the outcomes of all items."""
        params = IngestParams(**work.params)
        folder = self._inputs.folder(params.input)
        progress = Progress.from_checkpoint(work.checkpoint) if work.checkpoint else Progress()
        if work.record.total is None or progress.done < work.record.total:
            with await asyncio.to_thread(
                IngestSource, params.source, params.path, folder, self._settings
            ) as source:
                if work.checkpoint is None:
                    total = await asyncio.to_thread(source.prepare)
                    await work.report(total=total, checkpoint=asdict(progress))
                progress = await self._run(work, params, source, progress)
        await asyncio.to_thread(self._inputs.remove, params.input)
        return {
            "stored": progress.stored,
            "unchanged": progress.unchanged,
            "failed": progress.failed,
            "truncated": progress.truncated,
        }

    async def discard(self, work: Work) -> None:
        """Remove a cancelled job's input; the points it stored stay."""
        await asyncio.to_thread(self._inputs.remove, IngestParams(**work.params).input)

    async def close(self) -> None:
        """Do nothing: the pipeline and the inputs are others' to close."""

    async def _run(
        self, work: Work, params: IngestParams, source: IngestSource, progress: Progress
    ) -> Progress:
        settings = self._settings
        batches = Batches(
            source,
            progress.position,
            # Together the batches fill at most half of a queue: the rest is for requests.
            max_items=max(1, min(settings.max_batch, settings.queue_items // (2 * AHEAD))),
            collection=params.collection,
            metadata=params.metadata,
        )
        under_way: deque[tuple[Batch, asyncio.Task[Accounted]]] = deque()
        faults: list[Fault] = []
        reported = time.monotonic()
        batch = await asyncio.to_thread(batches.next)
        try:
            while batch is not None or under_way:
                must_wait = batch is None or len(under_way) == AHEAD
                if not must_wait and batch is not None:
                    must_wait = any(batch.keys & each.keys for each, _ in under_way)
                if batch is not None and not must_wait:
                    under_way.append((batch, asyncio.create_task(self._ingest(work, batch))))
                    batch = await asyncio.to_thread(batches.next)
                    continue
                first, ingesting = under_way[0]
                accounted = await ingesting
                under_way.popleft()
                faults += accounted.faults
                progress = Progress(
                    progress.stored + accounted.stored,
                    progress.unchanged + accounted.unchanged,
                    progress.failed + len(accounted.faults),
                    first.after,
                    progress.truncated + accounted.truncated,
                )
                due = time.monotonic() - reported > REPORT_SECONDS
                if due or work.interrupted or not (under_way or batch):
                    found, faults = faults, []
                    await work.report(done=progress.done, faults=found, checkpoint=asdict(progress))
                    reported = time.monotonic()
        finally:
            for _, ingesting in under_way:
                ingesting.cancel()
            await asyncio.gather(*(ingesting for _, ingesting in under_way), return_exceptions=True)
        return progress

    async def _ingest(self, work: Work, batch: Batch) -> Accounted:
        """Embed and store a batch; its points are durable on return."""
        faults = list(batch.faults)
        stored = truncated = 0
        by_collection = sorted(batch.items, key=lambda each: each.key[0])
        for collection, group in groupby(by_collection, key=lambda each: each.key[0]):
            items = list(group)
            known = await self._retry(work, partial(self._known, collection, items))
            fresh = [each for each in items if not self._is_current(each, known.get(each.key[1]))]
            outcomes = await self._retry(work, partial(self._embed, fresh))
            if not all(isinstance(each, IsthmusError) for each in outcomes):
                inputs = [each.input for each in fresh]
                outcomes = await self._retry(work, partial(self._store, collection, inputs, outcomes))
            failed = [
                Fault.of(item.name, outcome)
                for item, outcome in zip(fresh, outcomes, strict=True)
                if isinstance(outcome, IsthmusError)
            ]
            faults += failed
            stored += len(fresh) - len(failed)
            embedded = [each.vectors for each in outcomes if isinstance(each, Embedding)]
            truncated += sum(vectors.given is not None for vectors in embedded)
        unchanged = len(batch.items) + len(batch.faults) - stored - len(faults)
        return Accounted(stored, unchanged, truncated, faults)

    async def _known(self, collection: str, items: list[Loaded]) -> dict[str, StoredPoint]:
        ids = [each.key[1] for each in items]
        get = partial(self._pipeline.index.get, collection, ids)
        async with self._index_calls:
            found = await self._pipeline.call_index(Timings(), get)
        return {point.id: point for point in found}

    def _is_current(self, item: Loaded, point: StoredPoint | None) -> bool:
        """Return whether a stored point is this item, embedded with the connector in use.

        Names are not compared: of two files with the same content each would change the other's.
        """
        if point is None or point.payload.get("connector") != self._pipeline.space.connector_version:
            return False
        metadata = item.input.metadata
        return (
            point.payload.get("sha256") == item.media.sha256()
            and (metadata is None or same_json(point.payload.get("metadata"), metadata))
            and item.media.modality in (None, point.modality)
        )

    async def _embed(self, items: list[Loaded]) -> list[Outcome]:
        media = [each.media for each in items]
        outcomes = await self._pipeline.embed(Timings(), media, NO_DEADLINE) if media else []
        for outcome in outcomes:
            if isinstance(outcome, Unavailable):
                raise outcome
        return refuse_not_understood(media, outcomes)

    async def _store(
        self, collection: str, inputs: list[EmbedInput], outcomes: list[Outcome]
    ) -> list[Outcome]:
        async with self._index_calls:
            writing = asyncio.ensure_future(self._pipeline.store(Timings(), collection, inputs, outcomes))
            try:
                stored, _ = await asyncio.shield(writing)
            except asyncio.CancelledError:
                # A thread that writes cannot be stopped: the job ends after it.
                await asyncio.wait([writing])
                raise
            return stored

    @staticmethod
    async def _retry(work: Work, attempt: Callable[[], Awaitable[T]]) -> T:
        """Retry failures that are no item's fault: a full queue, a part that does not answer."""
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

"""The engine: every request's media through decoding, batching and the encoders.

Holds `Engine`. It takes the items of requests and returns an embedding or an error for each. The steps are
admission, preprocessor, vector cache and one worker per encoder: a module each.
"""

import asyncio
import logging
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TypeAlias, TypeVar

import numpy as np
from PIL import Image

from connectors.encoder import Encoder, Prepared
from connectors.errors import IsthmusError
from connectors.media import Limits
from connectors.modality import SAMPLE_RATE, Media, Modality
from connectors.space import UnifiedSpace
from service.engine.admission import Admission, Reservation
from service.engine.batch import Encoded
from service.engine.cache import CacheKey, VectorCache
from service.engine.cores import available_cores
from service.engine.embedding import Embedding, Vectors, project_again
from service.engine.in_flight import InFlightRequests
from service.engine.media_input import MediaInput
from service.engine.preprocessor import TEXT_MIME, Preprocessor
from service.engine.replicas import cpu_slots_for, devices_meant, is_gpu, replicas_of
from service.engine.worker import EncoderWorker, Matrix
from service.errors import DeadlineExceeded, EncoderFailed, Overloaded
from service.metrics import Metrics
from service.settings import Settings
from service.timings import Stages

T = TypeVar("T")
Copies: TypeAlias = tuple[str, Mapping[str, Encoder]]
"""A device, and the encoders of every space on it."""

log = logging.getLogger("isthmus.engine")

FRESH_SECONDS = 10.0
"""Seconds for which an encoder that embedded something counts as answering."""
SUPERVISION_SECONDS = 1.0
UNKNOWN_QUEUE = "unknown"
INLINE_ITEMS = 4
"""Requests of up to so many items have their short texts prepared on the event loop."""
KNOWN_TEXT_BYTES = 4096
"""Texts up to this size are looked up on the event loop, longer ones by the preprocessor."""


class Engine:
    """A running engine over one unified space. Make it with `start`; close it when done."""

    def __init__(
        self, space: UnifiedSpace, settings: Settings, metrics: Metrics, copies: Sequence[Copies] = ()
    ) -> None:
        own: Copies = (devices_meant(settings.device)[0], space.encoders)
        self.space = space
        self.cache = VectorCache(settings.cache_items)
        self.admission = Admission(settings.queue_items, settings.queue_bytes)
        self._settings = settings
        self._metrics = metrics
        self.preprocessor = Preprocessor(
            lambda: self.space,
            self.cache,
            Limits(max_bytes=settings.max_item_bytes),
            settings.decode_threads or available_cores(),
            Admission(settings.queue_items, settings.queue_bytes),
        )
        self._window = 2 * settings.max_batch
        self._in_flight = InFlightRequests(self.cache)
        self._supervisor: asyncio.Task[None] | None = None
        self._samples: dict[str, Prepared] = {}
        every = (own, *copies)
        self.cpu_slots = cpu_slots_for([encoders for device, encoders in every if not is_gpu(device)])
        served = {space.space_of(modality) for modality in space.modalities}
        self.workers = {
            name: EncoderWorker(
                name,
                self._encode,
                replicas_of([(device, encoders[name]) for device, encoders in every], self.cpu_slots),
                max_rows=settings.max_batch,
                batch_seconds=settings.batch_seconds,
                observe=metrics.batch,
            )
            for name in sorted(served)
        }

    @classmethod
    async def start(
        cls, space: UnifiedSpace, settings: Settings, metrics: Metrics, copies: Sequence[Copies] = ()
    ) -> "Engine":
        """Start an engine whose encoders have each embedded a probe of every modality they serve.

        `copies` are the encoders once more, on other devices than the space's own.
        """
        engine = cls(space, settings, metrics, copies)
        media = probe_media()
        for modality in space.modalities:
            name = space.space_of(modality)
            prepared = await engine.preprocessor.prepare(modality, media[modality])
            await engine.workers[name].submit("probe", prepared)
            engine._samples.setdefault(name, prepared)
        engine._supervisor = asyncio.create_task(engine._supervise())
        return engine

    def adopt(self, space: UnifiedSpace) -> None:
        """Switch to a space with other connectors and the same encoders."""
        self.space = space

    async def embed(
        self, items: Sequence[MediaInput], seconds_left: float, space: UnifiedSpace | None = None
    ) -> list[Embedding | IsthmusError]:
        """Embed the items of one request; return for each its embedding, or what is wrong with it.

        All unified vectors are of one connector: that of `space`, or the one in use. Raises `Overloaded`
        where the queues cannot take all of them (short texts seen before need none), and `DeadlineExceeded`
        where no time is left. Cancelling it takes its items out of every queue.
        """
        if seconds_left <= 0:
            raise DeadlineExceeded("the deadline passed before any item was begun")
        space = space or self.space
        known = [self._known_text(item) for item in items]
        unknown = [item for item, each in zip(items, known, strict=True) if each is None]
        embedded = iter(await self._embed_unknown(unknown, seconds_left))
        return [_in_space(space, next(embedded) if each is None else each) for each in known]

    async def _embed_unknown(
        self, items: Sequence[MediaInput], seconds_left: float
    ) -> list[Embedding | IsthmusError]:
        queues = [(self._queue_of(item.likely_modality()), item.size) for item in items]
        flow = object()
        window = asyncio.Semaphore(self._window)
        inline = len(items) <= INLINE_ITEMS
        # The block's end matters: an item cancelled before its first step never leaves by itself.
        with self.admission.enter(queues, seconds_left) as reservation:
            embeddings = (
                self._embed_one(item, reservation, index, flow, window, inline)
                for index, item in enumerate(items)
            )
            if len(items) == 1:
                return [await next(embeddings)]
            return await asyncio.gather(*embeddings)

    def refusal(self, modality: Modality, seconds_left: float) -> Overloaded | None:
        """Return why nothing of this modality can be taken now and done in time, or None where it can."""
        return self.admission.refusal(self._queue_of(modality), seconds_left)

    async def draw(
        self,
        modality: Modality,
        data: Callable[[], bytes],
        name: str,
        draw: Callable[[Media], T],
        size: int,
        seconds_left: float,
    ) -> T:
        """Return what `draw` makes of a file that is only to be shown; see `Preprocessor.draw`."""
        return await self.preprocessor.draw(modality, data, name, draw, size, seconds_left)

    async def ready(self) -> dict[str, bool]:
        """Return for each encoder whether it answers now."""
        names = list(self.workers)
        answers = await asyncio.gather(
            *(
                self.workers[name].probe(self._samples[name], FRESH_SECONDS, self._settings.probe_seconds)
                for name in names
            )
        )
        return dict(zip(names, answers, strict=True))

    def decodes(self) -> bool:
        """Return whether media can be decoded now."""
        return self.preprocessor.answers()

    def measure(self) -> None:
        """Bring the gauges up to date."""
        for name, worker in self.workers.items():
            self._metrics.queue_depth.labels(name).set(worker.depth)
            self._metrics.restarts.labels(name).set(worker.restarts)
        for name, budget in self.admission.queues.items():
            self._metrics.admitted.labels(name).set(budget.items)
            self._metrics.admitted_bytes.labels(name).set(budget.bytes)

    async def close(self) -> None:
        """Stop every thread after its batch or item."""
        if self._supervisor is not None:
            self._supervisor.cancel()
            with suppress(asyncio.CancelledError):
                await self._supervisor
        for worker in self.workers.values():
            await asyncio.to_thread(worker.close)
        self.cpu_slots.close()
        await asyncio.to_thread(self.preprocessor.close)

    async def _supervise(self) -> None:
        while True:
            await asyncio.sleep(SUPERVISION_SECONDS)
            for duty in (*self.preprocessor.duties(), *(each.revive for each in self.workers.values())):
                try:
                    duty()
                except Exception:  # no thread can be started now, say: a second later perhaps
                    log.exception("what had stopped could not be started again")

    def _queue_of(self, modality: Modality | None) -> str:
        if modality is None or modality not in self.space.modalities:
            return UNKNOWN_QUEUE
        return self.space.space_of(modality)

    async def _embed_one(
        self,
        item: MediaInput,
        reservation: Reservation,
        index: int,
        flow: Hashable,
        window: asyncio.Semaphore,
        inline: bool,
    ) -> Embedding | IsthmusError:
        done = True
        try:
            async with window:
                timed = await self.preprocessor.run(item, flow, inline=inline)
                key, mime, ready = timed.value.key, timed.value.mime, timed.value.item
                if isinstance(ready, Vectors):
                    return self._embedding(key, mime, ready, Stages(timed.waited, timed.took), True)
                worker = self.workers[self.space.space_of(key.modality)]

                def begin() -> "asyncio.Future[Encoded]":
                    reservation.begin(index)
                    return worker.submit(flow, ready)

                encoded = await self._in_flight.join(key, begin)
            stages = Stages(timed.waited + encoded.waited, timed.took, encoded.took)
            return self._embedding(key, mime, encoded.vectors, stages, False)
        except asyncio.CancelledError:
            done = False
            raise
        except IsthmusError as error:
            return error
        except Exception:
            # One item's surprise is not the others'.
            log.exception("item %s failed", item.name)
            return EncoderFailed(f"{item.name} could not be embedded, through a fault of the service")
        finally:
            reservation.leave(index, done)

    def _embedding(
        self, key: CacheKey, mime: str, vectors: Vectors, stages: Stages, cached: bool
    ) -> Embedding:
        self._metrics.cache.labels("hit" if cached else "miss").inc()
        if cached:
            self._metrics.items.labels(key.modality).inc()
        else:
            self._metrics.item(self.space.space_of(key.modality), key.modality, stages)
        return Embedding(key.modality, mime, key.sha256, vectors, stages, cached)

    def _known_text(self, item: MediaInput) -> Embedding | None:
        """Return the embedding of a short text seen before: looked up here, without a hop to a thread."""
        if not item.is_text or item.size > KNOWN_TEXT_BYTES or "text" not in self.space.modalities:
            return None
        key = self.preprocessor.key("text", item)
        vectors = self.cache.get_in(self.space, key)
        return None if vectors is None else self._embedding(key, TEXT_MIME, vectors, Stages(), True)

    def _encode(self, encoder: Encoder, batch: Sequence[Prepared]) -> tuple[Matrix, Matrix, str]:
        """Encode and project a batch in one go, where the replica runs."""
        space = self.space
        native = encoder.encode_prepared(batch)
        unified = space.project(batch[0].modality, native)
        return native.numpy(), unified.numpy(), space.connector_version


def probe_media() -> Mapping[Modality, Media]:
    """Return one small decoded item per modality, always the same, to probe an encoder with."""
    rng = np.random.default_rng(0)
    return {
        "text": "a probe",
        "image": Image.linear_gradient("L").convert("RGB"),
        "audio": rng.normal(scale=0.1, size=SAMPLE_RATE).astype(np.float32),
        "point_cloud": rng.normal(size=(1024, 3)).astype(np.float32),
    }


def _in_space(space: UnifiedSpace, outcome: Embedding | IsthmusError) -> Embedding | IsthmusError:
    """Return an embedding with its unified vector in `space`."""
    if isinstance(outcome, IsthmusError) or outcome.vectors.connector == space.connector_version:
        return outcome
    return replace(outcome, vectors=project_again(space, outcome.modality, outcome.vectors))

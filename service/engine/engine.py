"""The engine: every request's media through decoding, batching and the encoders.

Holds `Engine`. It is given a unified space and items as requests bring them, and gives an embedding or an
error for each. The steps are admission, decode pool, vector cache, one worker an encoder: a module each.
"""

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias, TypeVar

from connectors.encoder import Encoder, Prepared
from connectors.errors import IsthmusError
from connectors.media import Limits, sniff
from connectors.media.point_cloud import is_read_in_python
from connectors.media.source import Source
from connectors.modality import Media, Modality
from connectors.space import UnifiedSpace
from service.engine.admission import Admission, Room
from service.engine.batch import Encoded
from service.engine.cache import CacheKey, VectorCache
from service.engine.cores import available_cores
from service.engine.decode_pool import DecodePool, Timed
from service.engine.decode_processes import DecodeProcesses
from service.engine.embedding import Embedding, Stages, Vectors
from service.engine.flights import Flights
from service.engine.media_input import MediaInput
from service.engine.probes import probe_media
from service.engine.projection import project_anew
from service.engine.replicas import devices_meant, is_gpu, lanes_for, replicas_of
from service.engine.worker import EncoderWorker, Matrix
from service.errors import DeadlineExceeded, EncoderFailed, Overloaded
from service.metrics import Metrics
from service.settings import Settings

T = TypeVar("T")
Copies: TypeAlias = tuple[str, Mapping[str, Encoder]]
"""A device, and the encoders of every space on it."""

log = logging.getLogger("isthmus.engine")

FRESH_SECONDS = 10.0
"""An encoder that embedded something this lately is known to answer."""
SUPERVISION_SECONDS = 1.0
UNKNOWN_LANE = "unknown"
TEXT_MIME = "text/plain"
APART_BYTES = 64 * 1024
"""Files from this size on that are read in Python are decoded in a process of their own: a text of that size
takes 20 ms."""
INLINE_ITEMS = 4
INLINE_CHARACTERS = 1000
"""Requests of so few texts, so short, are prepared on the event loop: a hop to the pool would take longer."""
KNOWN_TEXT_BYTES = 4096
"""Texts up to this size are looked up on the event loop, longer ones in the decode pool."""
SHOWN = "shown"
"""The lane and the flow of what is decoded only to be shown."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """An item after the decode pool: ready for the encoder, or its vectors if they were known already."""

    key: CacheKey
    mime: str
    item: Prepared | Vectors


@dataclass(frozen=True, slots=True)
class Undecoded:
    """An item that was read, and that a process of its own has to decode."""

    key: CacheKey
    mime: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Undrawn:
    """A file that is only to be shown, and that a process of its own has to decode."""

    data: bytes


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
        self._limits = Limits(max_bytes=settings.max_item_bytes)
        threads = settings.decode_threads or available_cores()
        self._pool = DecodePool(threads)
        # Threads that wait for a child are not those that decode, which others need meanwhile.
        self._apart_pool = DecodePool(threads)
        self._apart = DecodeProcesses()
        self._showing = Admission(settings.queue_items, settings.queue_bytes)
        self._window = 2 * settings.max_batch
        self._flights = Flights(self.cache)
        self._supervisor: asyncio.Task[None] | None = None
        self._samples: dict[str, Prepared] = {}
        every = (own, *copies)
        self._lanes = lanes_for([encoders for device, encoders in every if not is_gpu(device)])
        served = {space.space_of(modality) for modality in space.modalities}
        self.workers = {
            name: EncoderWorker(
                name,
                self._encode,
                replicas_of([(device, encoders[name]) for device, encoders in every], self._lanes),
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
        """An engine whose encoders have each embedded a probe of every modality they serve.

        `copies` are the encoders once more, on other devices than the space's own.
        """
        engine = cls(space, settings, metrics, copies)
        media = probe_media()
        for modality in space.modalities:
            name = space.space_of(modality)
            prepare = partial(space.prepare, modality, media[modality])
            prepared = (await engine._pool.run("probe", prepare)).value
            await engine.workers[name].submit("probe", prepared)
            engine._samples.setdefault(name, prepared)
        engine._supervisor = asyncio.create_task(engine._supervise())
        return engine

    def adopt(self, space: UnifiedSpace) -> None:
        """Project with other connectors from now on; the encoders are the same."""
        self.space = space

    async def embed(
        self, items: Sequence[MediaInput], seconds_left: float, space: UnifiedSpace | None = None
    ) -> list[Embedding | IsthmusError]:
        """Embed the items of one request: for each its embedding, or what is wrong with it.

        All unified vectors are of one connector: that of `space`, or the one in use. Raises `Overloaded`
        where there is no room for all of them but the short texts seen before, and `DeadlineExceeded` where
        no time is left. Cancelling it takes its items out of every queue.
        """
        if seconds_left <= 0:
            raise DeadlineExceeded("the deadline passed before any item was begun")
        space = space or self.space
        known = [self._known_text(item) for item in items]
        unknown = [item for item, each in zip(items, known, strict=True) if each is None]
        embedded = iter(await self._embed_unknown(unknown, seconds_left))
        return [_under(space, next(embedded) if each is None else each) for each in known]

    async def _embed_unknown(
        self, items: Sequence[MediaInput], seconds_left: float
    ) -> list[Embedding | IsthmusError]:
        lanes = [(self._lane(item.likely_modality()), item.size) for item in items]
        flow = object()
        window = asyncio.Semaphore(self._window)
        inline = len(items) <= INLINE_ITEMS
        # The room's end matters: an item that is cancelled before its first step never gives its own back.
        with self.admission.enter(lanes, seconds_left) as room:
            one_by_one = (
                self._embed_one(item, room, index, flow, window, inline) for index, item in enumerate(items)
            )
            if len(items) == 1:
                return [await next(one_by_one)]
            return await asyncio.gather(*one_by_one)

    def refusal(self, modality: Modality, seconds_left: float) -> Overloaded | None:
        """Why nothing of this modality can be taken now and done in time, or None where it can."""
        return self.admission.refusal(self._lane(modality), seconds_left)

    async def show(
        self,
        modality: Modality,
        data: Callable[[], bytes],
        name: str,
        draw: Callable[[Media], T],
        size: int,
        seconds_left: float,
    ) -> T:
        """What `draw` makes of a file of `size` bytes that is only to be shown, once it is read and decoded.

        All such work together has the turn of one request. Raises `Overloaded` where too much of it waits,
        and what its decoder raises.
        """

        def drawn_here() -> T | Undrawn:
            read = data()
            if _is_apart(modality, read, name):
                return Undrawn(read)
            return draw(self._media(modality, read, name))

        with self._showing.enter([(SHOWN, size)], seconds_left) as room:
            drawn = (await self._pool.run(SHOWN, drawn_here)).value
            if isinstance(drawn, Undrawn):
                read = drawn.data
                apart = await self._apart_pool.run(SHOWN, lambda: draw(self._media(modality, read, name)))
                drawn = apart.value
            room.leave(0, True)
            return drawn

    async def ready(self) -> dict[str, bool]:
        """For each encoder, whether it answers now."""
        names = list(self.workers)
        answers = await asyncio.gather(
            *(
                self.workers[name].probe(self._samples[name], FRESH_SECONDS, self._settings.probe_seconds)
                for name in names
            )
        )
        return dict(zip(names, answers, strict=True))

    def decodes(self) -> bool:
        """Whether media can be decoded now: not every thread of a pool hangs."""
        return self._pool.answers() and self._apart_pool.answers()

    def measure(self) -> None:
        """Bring the gauges up to date."""
        for name, worker in self.workers.items():
            self._metrics.queue_depth.labels(name).set(worker.depth)
            self._metrics.restarts.labels(name).set(worker.restarts)
        for name, lane in self.admission.lanes.items():
            self._metrics.admitted.labels(name).set(lane.items)
            self._metrics.admitted_bytes.labels(name).set(lane.bytes)

    async def close(self) -> None:
        """Stop every thread, after the batch or item it is at."""
        if self._supervisor is not None:
            self._supervisor.cancel()
            with suppress(asyncio.CancelledError):
                await self._supervisor
        for worker in self.workers.values():
            await asyncio.to_thread(worker.close)
        self._lanes.close()
        await asyncio.to_thread(self._apart.close)
        for pool in (self._apart_pool, self._pool):
            await asyncio.to_thread(pool.close)

    async def _supervise(self) -> None:
        while True:
            await asyncio.sleep(SUPERVISION_SECONDS)
            duties = [self._pool.revive, self._apart_pool.revive, self._apart.rest]
            for duty in (*duties, *(worker.revive for worker in self.workers.values())):
                try:
                    duty()
                except Exception:  # no thread can be started now, say: a second later perhaps
                    log.exception("what had stopped could not be started again")

    def _lane(self, modality: Modality | None) -> str:
        if modality is None or modality not in self.space.modalities:
            return UNKNOWN_LANE
        return self.space.space_of(modality)

    async def _embed_one(
        self,
        item: MediaInput,
        room: Room,
        index: int,
        flow: Hashable,
        window: asyncio.Semaphore,
        inline: bool,
    ) -> Embedding | IsthmusError:
        done = True
        try:
            async with window:
                decoded = await self._decoded(item, flow, inline)
                key, mime, ready = decoded.value.key, decoded.value.mime, decoded.value.item
                if isinstance(ready, Vectors):
                    return self._embedding(key, mime, ready, Stages(decoded.waited, decoded.took), True)
                worker = self.workers[self.space.space_of(key.modality)]

                def begin() -> "asyncio.Future[Encoded]":
                    room.begin(index)
                    return worker.submit(flow, ready)

                encoded = await self._flights.join(key, begin)
            stages = Stages(decoded.waited + encoded.waited, decoded.took, encoded.took)
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
            room.leave(index, done)

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
        """The embedding of a short text seen before: looked up here and now, without a hop to the pool."""
        if not isinstance(item.content, str) or item.size > KNOWN_TEXT_BYTES:
            return None
        if "text" not in self.space.modalities:
            return None
        key = self._key("text", item.read())
        vectors = self._look_up(key)
        return None if vectors is None else self._embedding(key, TEXT_MIME, vectors, Stages(), True)

    def _key(self, modality: Modality, data: bytes) -> CacheKey:
        encoder = self.space.encoder_of(modality)
        digest = hashlib.sha256(data).hexdigest()
        return CacheKey(digest, modality, encoder.fingerprint)

    def _look_up(self, key: CacheKey) -> Vectors | None:
        """Vectors of content seen before, under the connector in use."""
        space, vectors = self.space, self.cache.get(key)
        if vectors is None or vectors.connector == space.connector_version:
            return vectors
        vectors = project_anew(space, key.modality, vectors)
        self.cache.put(key, vectors)
        return vectors

    async def _decoded(self, item: MediaInput, flow: Hashable, inline: bool) -> Timed[Decoded]:
        """One item read, looked up, decoded and prepared, each where it keeps nobody waiting."""
        if inline and _is_short(item):
            started = time.perf_counter()
            found, waited = self._decode(item), 0.0
            took = time.perf_counter() - started
        else:
            timed = await self._pool.run(flow, partial(self._decode, item))
            found, waited, took = timed.value, timed.waited, timed.took
        if isinstance(found, Undecoded):
            apart = await self._apart_pool.run(flow, partial(self._prepare, found, item.name))
            return Timed(apart.value, waited + apart.waited, took + apart.took)
        return Timed(found, waited, took)

    def _decode(self, item: MediaInput) -> Decoded | Undecoded:
        """Read, tell, look up, decode and prepare one item; what is decoded apart is only read."""
        data = item.read()
        Source(data, item.name, self._limits).check_bytes()
        mime, modality = TEXT_MIME, item.modality
        if not isinstance(item.content, str):
            kind = sniff(data, item.name, item.content_type)
            mime, modality = kind.mime, item.modality or kind.modality
        key = self._key(modality or "text", data)
        vectors = self._look_up(key)
        if vectors is not None:
            return Decoded(key, mime, vectors)
        read = Undecoded(key, mime, data)
        return read if _is_apart(key.modality, data, item.name) else self._prepare(read, item.name)

    def _prepare(self, read: Undecoded, name: str) -> Decoded:
        media = self._media(read.key.modality, read.data, name)
        return Decoded(read.key, read.mime, self.space.prepare(read.key.modality, media))

    def _media(self, modality: Modality, data: bytes, name: str) -> Media:
        if _is_apart(modality, data, name):
            return self._apart.decode(modality, data, name, self._limits)
        return self.space.decode(modality, data, name=name, limits=self._limits)

    def _encode(self, encoder: Encoder, batch: Sequence[Prepared]) -> tuple[Matrix, Matrix, str]:
        """Encoder and connector head in one go, where the replica runs."""
        space = self.space
        native = encoder.encode_prepared(batch)
        unified = space.project(batch[0].modality, native)
        return native.numpy(), unified.numpy(), space.connector_version


def _is_apart(modality: Modality, data: bytes, name: str) -> bool:
    """Whether a file is decoded in a process of its own, as its decoder would keep everybody waiting here."""
    return modality == "point_cloud" and len(data) >= APART_BYTES and is_read_in_python(data, name)


def _is_short(item: MediaInput) -> bool:
    return isinstance(item.content, str) and len(item.content) <= INLINE_CHARACTERS


def _under(space: UnifiedSpace, outcome: Embedding | IsthmusError) -> Embedding | IsthmusError:
    """An embedding with its unified vector in `space`."""
    if isinstance(outcome, IsthmusError) or outcome.vectors.connector == space.connector_version:
        return outcome
    return replace(outcome, vectors=project_anew(space, outcome.modality, outcome.vectors))

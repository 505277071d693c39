"""Everything a running service owns, from loading to draining.

Holds `Runtime`: the settings, the metrics and, once loaded, the engine, the index and the media store. Routes
ask it for what they need and get `Unavailable` while it is not there.
"""

import asyncio
import logging
import math
import shutil
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar

import torch
from starlette.requests import Request

from connectors.bundle import load_bundle, load_encoders
from connectors.modality import Modality
from connectors.precision import warm_up
from connectors.space import UnifiedSpace
from service.connector_store import ConnectorStore
from service.engine.cores import available_cores
from service.engine.engine import Copies, Engine
from service.engine.replicas import devices_meant, lanes_on_cpu
from service.errors import Overloaded, Unavailable
from service.index.errors import CollectionConflict
from service.index.opening import open_configured
from service.index.vector_index import VectorIndex
from service.ingest.inputs import IngestInputs
from service.jobs.kinds import job_kinds
from service.jobs.record import JobRecord
from service.jobs.refresh import KIND as REFRESH
from service.jobs.refresh import unfinished
from service.jobs.runner import JobRunner
from service.jobs.store import JobStore
from service.media_store import WRITING_SECONDS, MediaStore, used_in
from service.metrics import Metrics
from service.orphan_sweep import OrphanSweep
from service.request_context import RequestContext
from service.serving import Start, fingerprints_of, layout_of, plan_start
from service.settings import Settings

log = logging.getLogger("isthmus")

T = TypeVar("T")
Phase = Literal["loading", "refreshing", "preparing", "ready", "draining", "failed"]
Prepare: TypeAlias = Callable[["Runtime"], Awaitable[None]]
"""What is done with a loaded runtime before it is ready."""


class Runtime:
    """The resources of one service process. `load` fills it, `close` empties it."""

    def __init__(self, settings: Settings, prepare: Prepare | None = None) -> None:
        self.settings = settings
        self._prepare = prepare
        self.metrics = Metrics()
        self.phase: Phase = "loading"
        self.failure: Exception | None = None
        self._engine: Engine | None = None
        self._index: VectorIndex | None = None
        self._media: MediaStore | None = None
        self._jobs: JobRunner | None = None
        self._sweep: OrphanSweep | None = None
        self.inputs = IngestInputs(settings.data_dir / "ingest")
        self._connectors: ConnectorStore | None = None
        self.switching = asyncio.Lock()
        """Held in the moment in which connectors are switched."""
        self._index_threads = ThreadPoolExecutor(settings.index_threads, thread_name_prefix="index")

    @property
    def engine(self) -> Engine:
        """The engine; while draining too, for what runs. Raises `Unavailable` until it is loaded."""
        if self._engine is None:
            raise Unavailable(f"the service is {self.phase}; try again")
        return self._engine

    @property
    def space(self) -> UnifiedSpace:
        """The unified space. Raises `Unavailable` until it is loaded."""
        return self.engine.space

    @property
    def index(self) -> VectorIndex:
        """The vector index; call it through `call_index`. Raises `Unavailable` until it is open."""
        if self._index is None:
            raise Unavailable(f"the service is {self.phase}; try again")
        return self._index

    @property
    def media(self) -> MediaStore:
        """The media store; call it through `call_index`. Raises `Unavailable` until it is open."""
        if self._media is None:
            raise Unavailable(f"the service is {self.phase}; try again")
        return self._media

    @property
    def jobs(self) -> JobRunner:
        """The registry of jobs. Raises `Unavailable` until it is open."""
        if self._jobs is None:
            raise Unavailable(f"the service is {self.phase}; try again")
        return self._jobs

    @property
    def scratch(self) -> Path:
        """The folder for files that nobody needs after a restart."""
        return self.settings.data_dir / "scratch"

    def sweep_soon(self) -> None:
        """Delete media that no point names soon: those whose deletion waited for a backup to end."""
        if self._sweep is not None:
            self._sweep.hurry()

    @property
    def connectors(self) -> ConnectorStore:
        """The releases of connectors; its calls are not for the event loop. Raises `Unavailable`."""
        if self._connectors is None:
            raise Unavailable(f"the service is {self.phase}; try again")
        return self._connectors

    async def in_one_space(self, work: Callable[[UnifiedSpace], Awaitable[T]]) -> T:
        """Do work in the space the index holds; all of it again where connectors are switched meanwhile."""
        while True:
            space = self.space
            try:
                return await work(space)
            except CollectionConflict:
                async with self.switching:
                    pass
                if self.space is space:
                    raise

    async def call_index(self, context: RequestContext, function: Callable[[], T]) -> T:
        """Run a call to the index or the media store on a thread of their own, and time it."""
        with context.indexing():
            return await asyncio.get_running_loop().run_in_executor(self._index_threads, function)

    async def load(self) -> None:
        """Load the bundle, open the index and warm the encoders up; the phase tells how it went."""
        started = time.perf_counter()
        settings = self.settings
        try:
            torch.set_float32_matmul_precision(settings.precision)
            first, *others = devices_meant(settings.device)
            options: dict[str, Any] = {
                "dtype": settings.dtype,
                "compiled": settings.compiled,
                "channels_last": settings.channels_last,
            }
            load = partial(load_bundle, settings.bundle, connectors=settings.connectors, device=first)
            space = await _apart(partial(load, **options))
            copies: list[Copies] = []
            for device in others:
                load_copy = partial(load_encoders, settings.bundle, device=device, **options)
                copies.append((device, await _apart(load_copy)))
            for encoders in (space.encoders, *(each for _, each in copies)):
                for encoder in encoders.values():
                    await _apart(partial(warm_up, encoder))
            if settings.device == "auto" and first == "cpu" and not settings.compiled:
                lanes = lanes_on_cpu(space.encoders.values(), available_cores())
                copies += [(first, space.encoders)] * (lanes - 1)
            settings.data_dir.mkdir(parents=True, exist_ok=True)
            folder = settings.data_dir / "connectors"
            self._connectors = await asyncio.to_thread(ConnectorStore, folder, settings.bundle)
            self._media = MediaStore.open(settings.data_dir / "media", settings.media_url)
            self._index = await asyncio.to_thread(open_configured, layout_of(space), settings)
            shutil.rmtree(self.scratch, ignore_errors=True)
            self._sweep = self._begin_sweep()
            start = await asyncio.to_thread(self._plan, space)
            space = start.space
            self._index.layout = layout_of(space)
            self._engine = await Engine.start(space, settings, self.metrics, copies)
            jobs = await asyncio.to_thread(JobStore, settings.data_dir / "jobs")
            self._jobs = JobRunner(jobs, job_kinds(self))
            pending = unfinished(self)
            self._jobs.start(REFRESH)
            await self._refresh(start, pending)
            self._jobs.start()
            if self._prepare is not None and self.phase in ("loading", "refreshing"):
                self.phase = "preparing"
                await self._prepare(self)
        except Exception as error:
            self.failure = error
            self.phase = "failed"
            raise
        if self.phase in ("loading", "refreshing", "preparing"):
            self.phase = "ready"
        log.info(
            "ready after %.1f s: bundle %s, connector %s, %s",
            time.perf_counter() - started,
            self.space.name,
            self.space.connector_version,
            ", ".join(self.space.modalities),
        )

    def _begin_sweep(self) -> OrphanSweep | None:
        """The search for media that no point names, begun; None where that is not this service's to do."""
        settings, media, used = self.settings, self.media, used_in(self.index)
        alone = settings.qdrant_url is None and settings.media_url is None
        if settings.sweep_orphans is False or (settings.sweep_orphans is None and not alone):
            return None
        sweep = OrphanSweep(
            partial(media.collect, used, older_than=0.0 if alone else WRITING_SECONDS),
            every=settings.sweep_seconds,
        )
        sweep.start()
        return sweep

    def _plan(self, bundled: UnifiedSpace) -> Start:
        """What to serve with; what is served is kept."""
        current = self.index.engine.current()
        start = plan_start(self.connectors, bundled, self.settings.connectors, current)
        if not start.refresh_first:
            release = self.connectors.find(start.space.connector_version)
            self.connectors.keep(release, fingerprints_of(bundled))
        return start

    async def _refresh(self, start: Start, pending: list[JobRecord]) -> None:
        """Begin to switch to the connectors wanted, unless a former process had begun to switch to some.

        Waits for the end where nothing can be served before.
        """
        served, wanted = start.space.connector_version, start.wanted.version
        if served == wanted and not start.refresh_first:
            return
        if not pending:
            log.info("the index holds connector %s; it is refreshed to %s", served, wanted)
            pending = [await self.jobs.submit(REFRESH, {"version": wanted})]
        if start.refresh_first:
            self.phase = "refreshing"
            if pending[0].state == "paused":
                await self.jobs.resume(pending[0].id)
            job = await self.jobs.ended(pending[0].id)
            if job.failure is not None:
                raise Unavailable(f"the index could not be refreshed: {job.failure['message']}")

    def check_ready(self) -> None:
        """Raise `Unavailable` while loading or draining: what comes now is not begun."""
        if self.phase != "ready":
            raise Unavailable(f"the service is {self.phase}; try again")

    def crowded(self) -> bool:
        """Whether some encoder's queue is full, for a request that sets no deadline; only while ready.

        Who comes while draining is to hear that, and not to wait here for room.
        """
        if self.phase != "ready" or self._engine is None:
            return False
        return self._engine.admission.full(self.settings.request_timeout)

    def refusal(self, modality: Modality, patient: bool) -> Overloaded | None:
        """Why nothing of this modality can be taken now, or None where it can; `patient`: however late."""
        seconds_left = math.inf if patient else self.settings.request_timeout
        return None if self._engine is None else self._engine.refusal(modality, seconds_left)

    def drain(self) -> None:
        """Take no new work; what runs may end."""
        self.phase = "draining"

    async def health(self) -> tuple[bool, dict[str, object]]:
        """Whether the service can answer now, and what each part says."""
        engine, index = self._engine, self._index
        if self.phase != "ready" or engine is None or index is None:
            return False, {"status": self.phase, "refresh": self._refresh_report()}
        encoders = await engine.ready()
        try:
            async with asyncio.timeout(self.settings.probe_seconds):
                index_answers = await asyncio.to_thread(index.healthy)
        except TimeoutError:
            index_answers = False
        decodes = engine.decodes()
        ready = all(encoders.values()) and decodes and index_answers
        return ready, {
            "status": "ready" if ready else "unhealthy",
            "bundle": engine.space.name,
            "connector": engine.space.connector_version,
            "modalities": list(engine.space.modalities),
            "encoders": {name: "ok" if answers else "silent" for name, answers in encoders.items()},
            "decoders": "ok" if decodes else "silent",
            "index": "ok" if index_answers else "silent",
            "refresh": self._refresh_report(),
        }

    def _refresh_report(self) -> dict[str, object] | None:
        """How far a refresh is, None where there is none."""
        job = next(iter(unfinished(self)), None) if self._jobs is not None else None
        if job is None:
            return None
        return {
            "job": job.id,
            "state": job.state,
            "to": job.params["version"],
            "done": job.done,
            "total": job.total,
        }

    def exposition(self) -> bytes:
        """The metrics, with the gauges brought up to date."""
        if self._engine is not None:
            self._engine.measure()
            self.metrics.connector.clear()
            self.metrics.connector.labels(self.space.connector_version).set(1)
        if self._jobs is not None:
            self.metrics.measure_jobs(self._jobs.all())
        return self.metrics.exposition()

    async def close(self) -> None:
        """Let go of everything, in the order of its use."""
        if self._jobs is not None:
            await self._jobs.close()
        if self._sweep is not None:
            await self._sweep.close()
        if self._engine is not None:
            await self._engine.close()
        await asyncio.to_thread(self._index_threads.shutdown)
        if self._index is not None:
            await asyncio.to_thread(self._index.close)


async def _apart(function: Callable[[], T]) -> T:
    """Run a function on a thread that ends with it, and takes along the helper threads torch gave it."""
    with ThreadPoolExecutor(1, thread_name_prefix="loading") as thread:
        return await asyncio.get_running_loop().run_in_executor(thread, function)


def runtime_of(request: Request) -> Runtime:
    """The runtime of the app that a request came to."""
    runtime: Runtime = request.app.state.runtime
    return runtime

"""The life cycle of a service process: loading, health, draining.

Holds `Runtime`, which opens everything a service owns, reports whether it can answer, and closes it. Routes
and jobs get the `Pipeline` that it loads.
"""

import asyncio
import logging
import shutil
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar

import torch

from connectors.bundle import load_bundle, load_encoders
from connectors.precision import warm_up
from connectors.space import UnifiedSpace
from service.engine.cores import available_cores
from service.engine.engine import Copies, Engine
from service.engine.replicas import devices_meant, slots_on_cpu
from service.errors import Unavailable
from service.index.opening import open_configured
from service.index.vector_index import VectorIndex
from service.ingest.inputs import IngestInputs
from service.ingest.job import IngestJob
from service.jobs.record import JobRecord
from service.jobs.runner import JobRunner
from service.jobs.store import JobStore
from service.media.orphan_sweep import OrphanSweep
from service.media.store import WRITING_SECONDS, MediaStore
from service.metrics import Metrics
from service.pipeline import Pipeline, used_in
from service.releases.startup import Start, fingerprints_of, layout_of, plan_start
from service.releases.store import ReleaseStore
from service.releases.switching import KIND as REFRESH
from service.releases.switching import RefreshJob, unfinished
from service.settings import Settings

log = logging.getLogger("isthmus")

T = TypeVar("T")
Phase = Literal["loading", "refreshing", "preparing", "ready", "draining", "failed"]
Prepare: TypeAlias = Callable[["Pipeline"], Awaitable[None]]
"""The work on a loaded service before it is ready."""


class Runtime:
    """The resources of one service process. `load` opens them, `close` closes them."""

    def __init__(self, settings: Settings, prepare: Prepare | None = None) -> None:
        self.settings = settings
        self._prepare = prepare
        self.metrics = Metrics()
        self.phase: Phase = "loading"
        self.failure: Exception | None = None
        self.inputs = IngestInputs(settings.data_dir / "ingest")
        self._index: VectorIndex | None = None
        self._media: MediaStore | None = None
        self._sweep: OrphanSweep | None = None
        self._releases: ReleaseStore | None = None
        self._pipeline: Pipeline | None = None
        self._jobs: JobRunner | None = None

    @property
    def pipeline(self) -> Pipeline:
        """The pipeline; while draining too, for running requests. Raises `Unavailable` until it is loaded."""
        return self._opened(self._pipeline)

    @property
    def jobs(self) -> JobRunner:
        """The registry of jobs. Raises `Unavailable` until it is open."""
        return self._opened(self._jobs)

    @property
    def releases(self) -> ReleaseStore:
        """The releases of connectors; its calls are not for the event loop. Raises `Unavailable`."""
        return self._opened(self._releases)

    @property
    def scratch(self) -> Path:
        """The folder for files that nobody needs after a restart."""
        return self.settings.data_dir / "scratch"

    def sweep_soon(self) -> None:
        """Delete media that no point names soon: those whose deletion waited for a backup to end."""
        if self._sweep is not None:
            self._sweep.hurry()

    def ready_engine(self) -> Engine | None:
        """Return the engine while requests are answered, None before and after."""
        return self._pipeline.engine if self._pipeline is not None and self.phase == "ready" else None

    async def load(self) -> None:
        """Load the bundle, open the index and warm the encoders up; `phase` is then ready or failed."""
        started = time.perf_counter()
        settings = self.settings
        try:
            torch.set_float32_matmul_precision(settings.precision)
            # torch lets CUDA's float32 convolutions be TF32 unless it is told otherwise.
            torch.backends.cudnn.allow_tf32 = settings.precision != "highest"
            first, *others = devices_meant(settings.device)
            options: dict[str, Any] = {
                "dtype": settings.dtype,
                "compiled": settings.compiled,
                "channels_last": settings.channels_last,
            }
            load = partial(load_bundle, settings.bundle, connectors=settings.connectors, device=first)
            space = await _on_own_thread(partial(load, **options))
            copies: list[Copies] = []
            for device in others:
                load_copy = partial(load_encoders, settings.bundle, device=device, **options)
                copies.append((device, await _on_own_thread(load_copy)))
            for encoders in (space.encoders, *(each for _, each in copies)):
                for encoder in encoders.values():
                    await _on_own_thread(partial(warm_up, encoder))
            if settings.device == "auto" and first == "cpu" and not settings.compiled:
                slots = slots_on_cpu(space.encoders.values(), available_cores())
                copies += [(first, space.encoders)] * (slots - 1)
            settings.data_dir.mkdir(parents=True, exist_ok=True)
            folder = settings.data_dir / "connectors"
            self._releases = await asyncio.to_thread(ReleaseStore, folder, settings.bundle)
            self._media = MediaStore.open(settings.data_dir / "media", settings.media_url)
            self._index = await asyncio.to_thread(open_configured, layout_of(space), settings)
            shutil.rmtree(self.scratch, ignore_errors=True)
            self._sweep = self._begin_sweep(self._media, self._index)
            start = await asyncio.to_thread(self._plan, space, self._index)
            self._index.layout = layout_of(start.space)
            engine = await Engine.start(start.space, settings, self.metrics, copies)
            self._pipeline = Pipeline(engine, self._index, self._media, settings.index_threads)
            jobs = await asyncio.to_thread(JobStore, settings.data_dir / "jobs")
            kinds = (
                RefreshJob(self._pipeline, self._releases, settings),
                IngestJob(self._pipeline, self.inputs, settings),
            )
            self._jobs = JobRunner(jobs, kinds)
            pending = unfinished(self._jobs)
            self._jobs.start(REFRESH)
            await self._refresh(start, pending)
            self._jobs.start()
            if self._prepare is not None and self.phase in ("loading", "refreshing"):
                self.phase = "preparing"
                await self._prepare(self._pipeline)
        except Exception as error:
            self.failure = error
            self.phase = "failed"
            raise
        if self.phase not in ("loading", "refreshing", "preparing"):
            return  # it was told to drain meanwhile
        self.phase = "ready"
        log.info(
            "ready after %.1f s: bundle %s, connector %s, %s",
            time.perf_counter() - started,
            self.pipeline.space.name,
            self.pipeline.space.connector_version,
            ", ".join(self.pipeline.space.modalities),
        )

    def _begin_sweep(self, media: MediaStore, index: VectorIndex) -> OrphanSweep | None:
        """Begin the sweep of media that no point names; None where another service may own some."""
        settings = self.settings
        alone = settings.qdrant_url is None and settings.media_url is None
        if settings.sweep_orphans is False or (settings.sweep_orphans is None and not alone):
            return None
        sweep = OrphanSweep(
            partial(media.collect, used_in(index), older_than=0.0 if alone else WRITING_SECONDS),
            every=settings.sweep_seconds,
        )
        sweep.start()
        return sweep

    def _plan(self, bundled: UnifiedSpace, index: VectorIndex) -> Start:
        """Decide what to serve with, and keep that release."""
        current = index.backend.current()
        start = plan_start(self.releases, bundled, self.settings.connectors, current)
        if not start.refresh_first:
            release = self.releases.find(start.space.connector_version)
            self.releases.keep(release, fingerprints_of(bundled))
        return start

    async def _refresh(self, start: Start, pending: list[JobRecord]) -> None:
        """Begin to switch to the connectors wanted, unless a former process has begun a switch.

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

    def drain(self) -> None:
        """Take no new work; running work may end."""
        self.phase = "draining"

    async def health(self) -> tuple[bool, dict[str, object]]:
        """Return whether the service can answer now, and the state of each part."""
        if self.phase != "ready" or self._pipeline is None:
            return False, {"status": self.phase, "refresh": self._refresh_report()}
        engine, index = self._pipeline.engine, self._pipeline.index
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
        """Return a refresh's progress, None where there is none."""
        job = next(iter(unfinished(self._jobs)), None) if self._jobs is not None else None
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
        """Return the metrics in Prometheus' text format, with the gauges brought up to date."""
        if self._pipeline is not None:
            self._pipeline.engine.measure()
            self.metrics.connector.clear()
            self.metrics.connector.labels(self._pipeline.space.connector_version).set(1)
        if self._jobs is not None:
            self._jobs.measure(self.metrics)
        return self.metrics.exposition()

    async def close(self) -> None:
        """Close everything, in the order of its use."""
        if self._jobs is not None:
            await self._jobs.close()
        if self._sweep is not None:
            await self._sweep.close()
        if self._pipeline is not None:
            await self._pipeline.engine.close()
            await self._pipeline.close()
        if self._index is not None:
            await asyncio.to_thread(self._index.close)

    def _opened(self, part: T | None) -> T:
        if part is None:
            raise Unavailable(f"the service is {self.phase}; try again")
        return part


async def _on_own_thread(function: Callable[[], T]) -> T:
    """Run a function on a thread that ends with it, and with it the helper threads that torch gave it."""
    with ThreadPoolExecutor(1, thread_name_prefix="loading") as thread:
        return await asyncio.get_running_loop().run_in_executor(thread, function)

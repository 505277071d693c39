"""The job that changes connectors: every stored point is projected anew, then all are switched in one step.

Its parameter is the version to switch to. Points are projected in a thread of its own, a page at a time with
pauses between, so that searches stay fast; during the switch writes and new searches wait.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from connectors.errors import ConfigError
from connectors.modality import Modality
from connectors.space import UnifiedSpace
from service.engine.embedding import project
from service.errors import JobConflict
from service.index.refresh import Matrix, Project, Refresh, discard
from service.jobs.record import JobRecord
from service.jobs.runner import JobRunner
from service.jobs.work import Work
from service.pipeline import Pipeline
from service.releases.startup import fingerprints_of, layout_of
from service.releases.store import Active, Release, ReleaseStore
from service.settings import Settings

KIND = "refresh"

T = TypeVar("T")

log = logging.getLogger("isthmus")


class RefreshJob:
    """See `service.jobs.work.JobKind`. `params` is `{"version": ...}`."""

    name, unit = KIND, "points"

    def __init__(self, pipeline: Pipeline, releases: ReleaseStore, settings: Settings) -> None:
        self._pipeline = pipeline
        self._releases = releases
        self._settings = settings
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="refresh")

    async def run(self, work: Work) -> Mapping[str, Any]:
        """Refresh the index to the version asked for, and serve with it."""
        pipeline, began = self._pipeline, time.monotonic()
        if work.checkpoint is None:
            await work.report(checkpoint={"former": pipeline.space.connector_version})
        former = (work.checkpoint or {})["former"]
        release, space = await asyncio.to_thread(self._load, work.params["version"])
        with Refresh(pipeline.index, layout_of(space), projection_to(space)) as refresh:
            await work.report(done=0, total=await self._in_thread(refresh.total))
            while True:
                await self._project_all(work, refresh)
                indexed = await self._in_thread(partial(refresh.finish_indexing, lambda: work.interrupted))
                work.check()
                if not indexed:
                    continue  # paused, and resumed before it stopped
                async with pipeline.switching:
                    if await self._in_thread(refresh.switch):
                        pipeline.engine.adopt(space)
                        break
            await asyncio.to_thread(self._record_activation, release, former)
            await self._in_thread(refresh.drop_older)
        log.info("connector %s took over from %s", release.version, former)
        tally = refresh.tally
        return {
            "version": release.version,
            "former": former,
            "points": tally.seen,
            "projected": tally.projected,
            "unchanged": tally.unchanged,
            "removed": tally.removed,
            "seconds": round(time.monotonic() - began, 3),
        }

    async def discard(self, work: Work) -> None:
        """Delete the points that a cancelled refresh had projected."""
        await asyncio.to_thread(discard, self._pipeline.index, work.params["version"])

    async def close(self) -> None:
        """Wait for the step that its thread may still be at, and end the thread."""
        await asyncio.to_thread(self._thread.shutdown)

    async def _project_all(self, work: Work, refresh: Refresh) -> None:
        steps = refresh.steps()
        share = self._settings.refresh_share
        while True:
            began = time.monotonic()
            if not await self._in_thread(partial(_step, steps)):
                return
            took = time.monotonic() - began
            seen = refresh.tally.seen
            await work.report(done=seen, total=max(seen, work.record.total or 0))
            await asyncio.sleep(took * (1 / share - 1))

    async def _in_thread(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)

    def _load(self, version: str) -> tuple[Release, UnifiedSpace]:
        """Return the release and its space, kept so that it can be served after a crash."""
        release = self._releases.find(version)
        space = release.load(self._pipeline.space)
        self._releases.keep(release, fingerprints_of(space))
        return release, space

    def _record_activation(self, release: Release, former: str) -> None:
        """Record the release for the next start; a bundle's own is followed as the bundle changes."""
        store, connectors = self._releases, self._settings.connectors
        follows = release.version == store.bundled(connectors).version
        before = store.active().former if former == release.version else former
        store.activate(Active(None if follows else release.version, before, connectors))


async def activate(pipeline: Pipeline, releases: ReleaseStore, jobs: JobRunner, version: str) -> JobRecord:
    """Begin to switch to a release and return the job, or the one that does so already.

    Raises `NotFound` for an unknown version, `FingerprintMismatch` and `ConnectorUnfit` where it does not
    fit the encoders or what they embed, `JobConflict` while another release is switched to.
    """
    await asyncio.to_thread(lambda: releases.find(version).load(pipeline.space))
    for job in unfinished(jobs):
        if job.params["version"] == version and job.asked != "cancel":
            return job
        raise JobConflict(
            f"job {job.id} is {job.state}, switching to connector {job.params['version']}; "
            "wait for its end, or cancel it"
        )
    return await jobs.submit(KIND, {"version": version})


def unfinished(jobs: JobRunner) -> list[JobRecord]:
    """Return the refreshes that have not ended, the oldest first."""
    return [each for each in jobs.all() if each.kind == KIND and not each.has_ended]


def projection_to(space: UnifiedSpace) -> Project:
    """Return the projection of a `Refresh`: vectors of a base space are unified as they are."""

    def into(stored: str, modality: Modality, native: Matrix) -> Matrix | None:
        if modality not in space.modalities or space.space_of(modality) != stored:
            raise ConfigError(
                f"the index holds {modality} vectors of the space {stored}, for which connector "
                f"{space.connector_version} has no head"
            )
        return None if space.is_base(modality) else project(space, modality, native)

    return into


def _step(steps: Iterator[None]) -> bool:
    """Take one step; return False where there is none left."""
    return any(True for _ in islice(steps, 1))

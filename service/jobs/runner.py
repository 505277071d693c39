"""The registry of jobs: accepts them, runs one of each kind at a time, and resumes them after a crash.

Jobs of one kind run in the order they were submitted, jobs of different kinds side by side. An action
requested of a job is on the disk before it is acknowledged.
"""

import asyncio
import logging
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from connectors.errors import IsthmusError
from service.errors import JobConflict, NotFound
from service.jobs.record import JobRecord, RequestedAction, now
from service.jobs.store import JobStore
from service.jobs.work import Interrupted, JobKind, Work
from service.metrics import Metrics

log = logging.getLogger("isthmus.jobs")

STOP_SECONDS = 10.0
"""Seconds a job may take to notice that the service stops."""


class JobRunner:
    """Every job of a service. Owns their tasks; its methods are for the event loop."""

    def __init__(self, store: JobStore, kinds: Sequence[JobKind]) -> None:
        self._store = store
        self._kinds = {kind.name: kind for kind in kinds}
        self._running: dict[str, Work] = {}
        self._wake = {name: asyncio.Event() for name in self._kinds}
        self._ended = asyncio.Condition()
        self._tasks: list[asyncio.Task[None]] = []
        self._started: set[str] = set()
        self._stopping = False

    def start(self, *names: str) -> None:
        """Begin to run jobs of these kinds, or all; first those that a former process did not end."""
        for name in set(names or self._kinds) - self._started:
            self._started.add(name)
            self._wake[name].set()
            task = asyncio.create_task(self._run_all(self._kinds[name]), name=f"jobs-{name}")
            self._tasks.append(task)

    async def close(self) -> None:
        """Stop running jobs, which go on at the next start, and close their kinds. Idempotent."""
        self._stopping = True
        for work in self._running.values():
            work.interrupt("stop")
        for event in self._wake.values():
            event.set()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=STOP_SECONDS)
            for task in late:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
        self._tasks = []
        for kind in self._kinds.values():
            await kind.close()

    async def submit(
        self, kind: str, params: Mapping[str, Any], idempotency_key: str | None = None
    ) -> JobRecord:
        """Submit a job and return it; it is durable on return.

        A key that a job of this kind had before returns that job. Raises `JobConflict` where the parameters
        of the two differ.
        """
        if idempotency_key is not None:
            for known in self._store.all():
                if (known.kind, known.idempotency_key) == (kind, idempotency_key):
                    if dict(known.params) != dict(params):
                        raise JobConflict(
                            f"Idempotency-Key {idempotency_key!r} came with other parameters before "
                            f"(job {known.id}); take a new key for a new job"
                        )
                    return known
        record = JobRecord(
            id=uuid.uuid4().hex[:16],
            kind=kind,
            params=dict(params),
            unit=self._kinds[kind].unit,
            created=now(),
            idempotency_key=idempotency_key,
        )
        await self._keep(record)
        return record

    def all(self) -> list[JobRecord]:
        """Return every job, the oldest first."""
        return self._store.all()

    def get(self, job_id: str) -> JobRecord:
        """Return a job. Raises `NotFound`."""
        if (record := self._store.get(job_id)) is None:
            raise NotFound(f"there is no job {job_id[:100]!r}; GET /jobs lists them", "id")
        return record

    def rate(self, job_id: str) -> float | None:
        """Return a running job's units per second, None for one that does not run."""
        work = self._running.get(job_id)
        return None if work is None else work.rate()

    def measure(self, metrics: Metrics) -> None:
        """Bring the gauges of jobs up to date."""
        for gauge in (metrics.jobs, metrics.job_done, metrics.job_total):
            gauge.clear()
        for job in self._store.all():
            metrics.jobs.labels(job.kind, job.state).inc()
            if not job.has_ended:
                metrics.job_done.labels(job.kind).inc(job.done)
                metrics.job_total.labels(job.kind).inc(job.total or 0)

    async def pause(self, job_id: str) -> JobRecord:
        """Pause a job until `resume`. A running one stops at its next report."""
        return await self._ask(self.get(job_id), "pause")

    async def cancel(self, job_id: str) -> JobRecord:
        """Cancel a job and clear away what it left. A running one stops at its next report."""
        return await self._ask(self.get(job_id), "cancel")

    async def resume(self, job_id: str) -> JobRecord:
        """Queue a paused or failed job again. Raises `JobConflict` for one that is done or cancelled."""
        record = self.get(job_id)
        if record.state in ("done", "cancelled") or record.asked == "cancel":
            raise JobConflict(f"job {job_id} is {record.state} and cannot go on; submit a new one")
        if record.state in ("paused", "failed"):
            record = replace(record, state="queued", asked=None, failure=None, ended=None)
        else:
            record = replace(record, asked=None)
            if (work := self._running.get(job_id)) is not None:
                work.interrupt(None)
        await self._keep(record)
        return self.get(job_id)

    async def forget(self, job_id: str) -> JobRecord:
        """Remove the record of a job that has ended. Raises `JobConflict` for one that has not."""
        record = self.get(job_id)
        if not record.has_ended:
            raise JobConflict(f"job {job_id} is {record.state}; cancel it first")
        if record.asked is not None:
            raise JobConflict(f"job {job_id} is being cancelled; try again in a moment")
        await asyncio.to_thread(self._store.forget, job_id)
        return record

    async def ended(self, job_id: str) -> JobRecord:
        """Wait until a job has ended, and return it."""
        async with self._ended:
            await self._ended.wait_for(lambda: self.get(job_id).has_ended)
        return self.get(job_id)

    async def _ask(self, record: JobRecord, asked: RequestedAction) -> JobRecord:
        if record.has_ended and not (record.state == "failed" and asked == "cancel"):
            raise JobConflict(f"job {record.id} is {record.state} already")
        if record.asked == "cancel":
            return record
        if (work := self._running.get(record.id)) is not None:
            work.interrupt(asked)
            record = replace(record, asked=asked)
        elif asked == "pause":
            record = replace(record, state="paused")
        elif record.started is None:
            record = replace(record, state="cancelled", ended=now())
        else:  # what it left is cleared away in its kind's turn
            record = replace(record, asked=asked)
        await self._keep(record)
        if record.state == "cancelled":
            await _discard(self._kinds[record.kind], Work(record.id, self._store))
        return self.get(record.id)

    async def _run_all(self, kind: JobKind) -> None:
        """Run the jobs of one kind as they are submitted, until the service stops."""
        wake = self._wake[kind.name]
        while True:
            await wake.wait()
            wake.clear()
            while not self._stopping and (record := self._next(kind.name)) is not None:
                try:
                    await self._run(kind, record)
                except OSError:  # the disk is full, say: the next start tries again
                    log.exception("the record of job %s could not be kept", record.id)
            if self._stopping:
                return

    def _next(self, kind: str) -> JobRecord | None:
        """Return the first job with something to do: to be run, paused or cancelled."""
        for record in self._store.all():
            to_run = record.state in ("queued", "running")
            if record.kind == kind and (to_run or record.asked is not None):
                return record
        return None

    async def _run(self, kind: JobKind, record: JobRecord) -> None:
        work = self._running[record.id] = Work(record.id, self._store)
        try:
            if record.asked is not None:
                raise Interrupted(record.asked)
            await self._keep(replace(record, state="running", started=record.started or now()))
            result = await kind.run(work)
            outcome = replace(work.record, state="done", asked=None, result=dict(result))
        except Interrupted as interrupted:
            outcome = await self._interrupted(kind, work, interrupted)
        except IsthmusError as error:
            outcome = _failed(work.record, error.code, error.message)
        except Exception:
            log.exception("job %s (%s) failed", record.id, kind.name)
            cause = "the service failed on this job; its log has the cause"
            outcome = _failed(work.record, "internal", cause)
        finally:
            del self._running[record.id]
        ended = now() if outcome.has_ended else None
        await self._keep(replace(outcome, ended=ended))
        log.info("job %s (%s) is %s", outcome.id, outcome.kind, outcome.state)

    async def _interrupted(self, kind: JobKind, work: Work, interrupted: Interrupted) -> JobRecord:
        if interrupted.reason == "stop":
            return replace(work.record, state="queued")
        if interrupted.reason == "pause":
            resumed = not work.interrupted  # while it wound down
            return replace(work.record, state="queued" if resumed else "paused", asked=None)
        await _discard(kind, work)
        return replace(work.record, state="cancelled", asked=None)

    async def _keep(self, record: JobRecord) -> None:
        """Write a record to the disk, and have its kind look for something to do."""
        self._store.note(record)
        await asyncio.to_thread(self._store.keep, record.id)
        if record.kind in self._wake:
            self._wake[record.kind].set()
        if record.has_ended:
            async with self._ended:
                self._ended.notify_all()


async def _discard(kind: JobKind, work: Work) -> None:
    try:
        await kind.discard(work)
    except IsthmusError as error:
        log.warning("job %s was cancelled, but left something: %s", work.id, error.message)


def _failed(record: JobRecord, code: str, message: str) -> JobRecord:
    return replace(record, state="failed", asked=None, failure={"code": code, "message": message})

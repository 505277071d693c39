"""The interface between a running job and the runner: its parameters, its progress, and interruption.

Holds `Work`, the handle of a running job, `JobKind`, the protocol of each kind of job, and `Interrupted`,
which ends a job before it is done.
"""

import asyncio
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, Protocol

from service.jobs.record import Fault, JobRecord
from service.jobs.store import JobStore

RATE_SECONDS = 30.0
"""Seconds over which the rate is measured."""

Reason = Literal["pause", "cancel", "stop"]


class Interrupted(Exception):
    """The job must stop here: it was paused or cancelled, or the service stops. Let it pass through."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason: Reason = reason


class JobKind(Protocol):
    """One kind of job. `name` is its name in records, `unit` the thing its progress counts."""

    name: str
    unit: str

    async def run(self, work: "Work") -> Mapping[str, Any]:
        """Run the job, from `work.checkpoint` where there is one, and return its result, as JSON.

        It may be started anew after any crash: whatever it did not report may be done twice. An
        `IsthmusError` makes the job fail with its message.
        """

    async def discard(self, work: "Work") -> None:
        """Clear away what a cancelled job leaves. May be called twice, and for a job that never ran."""

    async def close(self) -> None:
        """Release what the kind itself holds, once no job of it runs any more. Idempotent."""


class Work:
    """One job while it runs. Its methods are for the event loop."""

    def __init__(self, job_id: str, store: JobStore) -> None:
        self.id = job_id
        self._store = store
        self._interrupt: Reason | None = None
        self._samples: deque[tuple[float, int]] = deque([(time.monotonic(), self.record.done)])

    @property
    def record(self) -> JobRecord:
        """The record as it is now."""
        record = self._store.get(self.id)
        assert record is not None  # it is not forgotten before it has ended
        return record

    @property
    def params(self) -> Mapping[str, Any]:
        """The job's parameters."""
        return self.record.params

    @property
    def checkpoint(self) -> Mapping[str, Any] | None:
        """The checkpoint reported last, by this process or one before it; None at the very start."""
        return self.record.checkpoint

    async def report(
        self,
        *,
        done: int | None = None,
        total: int | None = None,
        faults: Sequence[Fault] = (),
        checkpoint: Mapping[str, Any] | None = None,
    ) -> None:
        """Report the job's progress; what is left out stays as it was.

        With a `checkpoint` everything reported so far is durable on return; without one it is in memory only.
        Raises `Interrupted`, after that, where the job must stop.
        """
        record = self.record.with_faults(tuple(faults))
        if done is not None:
            self._sample(done)
            record = replace(record, done=done)
        if total is not None:
            record = replace(record, total=total)
        if checkpoint is not None:
            record = replace(record, checkpoint=dict(checkpoint))
        self._store.note(record)
        if checkpoint is not None:
            await asyncio.to_thread(self._store.keep, self.id)
        self.check()

    def check(self) -> None:
        """Raise `Interrupted` where the job must stop."""
        if self._interrupt is not None:
            raise Interrupted(self._interrupt)

    @property
    def interrupted(self) -> bool:
        """True where the next `report` or `check` will raise `Interrupted`: time for a last checkpoint."""
        return self._interrupt is not None

    def rate(self) -> float:
        """Return the units per second, lately."""
        (since, before), (until, after) = self._samples[0], self._samples[-1]
        return (after - before) / (until - since) if until > since else 0.0

    def interrupt(self, reason: Reason | None) -> None:
        """Have the next `report` or `check` raise `Interrupted`; None takes that back. For the runner."""
        self._interrupt = reason

    def _sample(self, done: int) -> None:
        now = time.monotonic()
        self._samples.append((now, done))
        while len(self._samples) > 2 and now - self._samples[1][0] > RATE_SECONDS:
            self._samples.popleft()

"""A job goes on after a crash, is paused, ends and is remembered, whatever its kind."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from waiting import async_until

from connectors.errors import ConfigError, IntegrityError, InvalidMedia
from service.errors import JobConflict, NotFound
from service.jobs.record import MAX_FAULTS, Fault, JobRecord
from service.jobs.runner import JobRunner
from service.jobs.store import KEPT_ENDED, JobStore
from service.jobs.work import Interrupted, Work


class Gate:
    """A point that is reached and held until it is opened."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.open = asyncio.Event()

    async def wait(self) -> None:
        self.reached.set()
        await self.open.wait()


class Counting:
    """Counts to `params["to"]`, a step whenever it is let, with a checkpoint each."""

    name, unit = "counting", "steps"

    def __init__(self) -> None:
        self.steps = asyncio.Semaphore(0)
        self.begun_at: list[int] = []
        self.discarded: list[str] = []
        self.kept = 0
        self.at_work = False
        self.closed = False
        self._winding_down: Gate | None = None
        self._discarding: Gate | None = None

    def hold_winding_down(self) -> "Gate":
        """Have the next interrupted run wait before it ends."""
        self._winding_down = Gate()
        return self._winding_down

    def hold_discarding(self) -> "Gate":
        """Have the next clearing away wait."""
        self._discarding = Gate()
        return self._discarding

    async def run(self, work: Work) -> Mapping[str, Any]:
        self.at_work = True
        try:
            return await self._count(work)
        except Interrupted:
            if (gate := self._winding_down) is not None:
                self._winding_down = None
                await gate.wait()
            raise
        finally:
            self.at_work = False

    async def _count(self, work: Work) -> Mapping[str, Any]:
        start = (work.checkpoint or {"at": 0})["at"]
        self.begun_at.append(start)
        await work.report(total=work.params["to"])
        for at in range(start, work.params["to"]):
            await self.steps.acquire()
            if work.params.get("fails_at") == at:
                raise ConfigError("this step cannot be done")
            if work.params.get("breaks_at") == at:
                raise RuntimeError("nobody expected this")
            faults = [Fault.of(f"item {at}", InvalidMedia("it is damaged"))] if at == 1 else []
            await work.report(done=at + 1, faults=faults, checkpoint={"at": at + 1})
            self.kept = at + 1
        return {"counted": work.params["to"]}

    async def discard(self, work: Work) -> None:
        if (gate := self._discarding) is not None:
            self._discarding = None
            await gate.wait()
        self.discarded.append(work.id)

    async def close(self) -> None:
        assert not self.at_work
        self.closed = True

    def let(self, steps: int) -> None:
        for _ in range(steps):
            self.steps.release()


Scenario = Callable[[JobRunner, Counting], Awaitable[None]]


def run(folder: Path, scenario: Scenario, *, crash: bool = False) -> Counting:
    """One life of a service: `scenario` happens in it, then it stops in order, or at once."""

    async def life() -> Counting:
        kind = Counting()
        runner = JobRunner(JobStore(folder), [kind])
        runner.start()
        await scenario(runner, kind)
        if not crash:
            await runner.close()
        return kind

    return asyncio.run(life())  # it cancels what still runs


async def a_later_job(runner: JobRunner) -> str:
    """The state a job ends in that comes now: whatever could be begun before it has been begun by then."""
    return (await runner.ended((await runner.submit("counting", {"to": 1})).id)).state


def the_job(runner: JobRunner) -> JobRecord:
    [record] = runner.all()
    return record


def test_a_job_is_done_and_says_what_came_of_it(tmp_path: Path) -> None:
    async def scenario(runner: JobRunner, kind: Counting) -> None:
        record = await runner.submit("counting", {"to": 3})
        assert record.state == "queued"
        kind.let(3)
        record = await runner.ended(record.id)
        assert (record.state, record.done, record.total, record.unit) == ("done", 3, 3, "steps")
        assert record.result == {"counted": 3}
        assert record.faults == (Fault("item 1", "invalid_media", "it is damaged"),)
        assert record.created <= record.started <= record.ended

    run(tmp_path, scenario)


@pytest.mark.parametrize("crash", [True, False])
def test_a_job_goes_on_from_its_checkpoint_at_the_next_start(tmp_path: Path, crash: bool) -> None:
    async def first(runner: JobRunner, kind: Counting) -> None:
        await runner.submit("counting", {"to": 5})
        kind.let(2)
        await async_until(lambda: kind.kept == 2)
        if not crash:
            asyncio.get_running_loop().call_soon(kind.let, 1)  # while `close` waits, and not before

    async def second(runner: JobRunner, kind: Counting) -> None:
        kind.let(9)
        record = await runner.ended(the_job(runner).id)
        assert (record.state, record.done, record.fault_count) == ("done", 5, 1)

    run(tmp_path, first, crash=crash)
    assert run(tmp_path, second).begun_at == [2 if crash else 3]


def test_a_paused_job_stays_so_over_a_restart_until_it_is_resumed(tmp_path: Path) -> None:
    async def first(runner: JobRunner, kind: Counting) -> None:
        job = await runner.submit("counting", {"to": 3})
        kind.let(1)
        await async_until(lambda: kind.kept == 1)
        assert (await runner.pause(job.id)).asked == "pause"
        kind.let(1)
        await async_until(lambda: the_job(runner).state == "paused")
        assert the_job(runner).asked is None

    async def second(runner: JobRunner, kind: Counting) -> None:
        paused = the_job(runner)
        kind.let(9)
        assert await a_later_job(runner) == "done"
        assert runner.get(paused.id).state == "paused" and kind.begun_at == [0]
        await runner.resume(paused.id)
        assert (await runner.ended(paused.id)).state == "done"
        assert kind.begun_at == [0, 2]

    run(tmp_path, first)
    run(tmp_path, second)


def test_a_cancelled_job_leaves_nothing_and_is_not_begun_again(tmp_path: Path) -> None:
    async def scenario(runner: JobRunner, kind: Counting) -> None:
        job = await runner.submit("counting", {"to": 3})
        waiting = await runner.submit("counting", {"to": 4})
        kind.let(1)
        await async_until(lambda: kind.kept == 1)
        assert (await runner.cancel(waiting.id)).state == "cancelled"
        await runner.cancel(job.id)
        kind.let(1)
        assert (await runner.ended(job.id)).state == "cancelled"
        assert kind.discarded == [waiting.id, job.id]
        for refused in (runner.cancel, runner.pause, runner.resume):
            with pytest.raises(JobConflict):
                await refused(job.id)
        await runner.forget(job.id)
        with pytest.raises(NotFound):
            runner.get(job.id)

    async def afterwards(runner: JobRunner, kind: Counting) -> None:
        kind.let(9)
        assert await a_later_job(runner) == "done"

    run(tmp_path, scenario)
    assert run(tmp_path, afterwards).begun_at == [0], "the later job's beginning is the only one"


def test_a_crash_forgets_no_cancelling(tmp_path: Path) -> None:
    async def first(runner: JobRunner, kind: Counting) -> None:
        job = await runner.submit("counting", {"to": 3})
        await async_until(lambda: bool(kind.begun_at))
        await runner.cancel(job.id)

    async def second(runner: JobRunner, kind: Counting) -> None:
        record = await runner.ended(the_job(runner).id)
        assert record.state == "cancelled"
        assert kind.discarded == [record.id] and not kind.begun_at

    run(tmp_path, first, crash=True)
    run(tmp_path, second)


def test_a_failed_job_says_why_and_can_be_tried_again(tmp_path: Path) -> None:
    async def scenario(runner: JobRunner, kind: Counting) -> None:
        kind.let(99)
        job = await runner.submit("counting", {"to": 3, "fails_at": 1})
        record = await runner.ended(job.id)
        assert record.failure == {"code": "bad_config", "message": "this step cannot be done"}
        await runner.resume(job.id)
        assert runner.get(job.id).failure is None
        assert (await runner.ended(job.id)).state == "failed"
        assert kind.begun_at == [0, 1]
        broken = await runner.submit("counting", {"to": 3, "breaks_at": 0})
        failure = (await runner.ended(broken.id)).failure
        assert failure["code"] == "internal" and "nobody expected" not in failure["message"]

    run(tmp_path, scenario)


def test_a_job_that_is_being_cancelled_is_not_forgotten_and_stops_nobody(tmp_path: Path) -> None:
    async def scenario(runner: JobRunner, kind: Counting) -> None:
        kind.let(99)
        job = await runner.submit("counting", {"to": 3, "fails_at": 1})
        await runner.ended(job.id)
        gate = kind.hold_discarding()
        await runner.cancel(job.id)
        await gate.reached.wait()
        with pytest.raises(JobConflict, match="being cancelled"):
            await runner.forget(job.id)
        gate.open.set()
        await async_until(lambda: runner.get(job.id).state == "cancelled")
        assert await a_later_job(runner) == "done"

    run(tmp_path, scenario)


def test_a_job_resumed_while_its_pause_winds_down_goes_on(tmp_path: Path) -> None:
    async def scenario(runner: JobRunner, kind: Counting) -> None:
        gate = kind.hold_winding_down()
        job = await runner.submit("counting", {"to": 2})
        await async_until(lambda: bool(kind.begun_at))
        await runner.pause(job.id)
        kind.let(1)
        await gate.reached.wait()
        await runner.resume(job.id)
        gate.open.set()
        kind.let(9)
        assert (await runner.ended(job.id)).state == "done"

    run(tmp_path, scenario)


def test_a_kind_is_closed_once_its_jobs_have_stopped(tmp_path: Path) -> None:
    async def scenario(runner: JobRunner, kind: Counting) -> None:
        await runner.submit("counting", {"to": 3})
        await async_until(lambda: kind.at_work)
        assert not kind.closed
        asyncio.get_running_loop().call_soon(kind.let, 1)  # while `close` waits, and not before

    assert run(tmp_path, scenario).closed


def test_a_key_makes_a_job_once(tmp_path: Path) -> None:
    async def scenario(runner: JobRunner, kind: Counting) -> None:
        first = await runner.submit("counting", {"to": 3}, "mine")
        assert (await runner.submit("counting", {"to": 3}, "mine")).id == first.id
        assert (await runner.submit("counting", {"to": 3}, "other")).id != first.id
        with pytest.raises(JobConflict, match="other parameters"):
            await runner.submit("counting", {"to": 4}, "mine")
        asyncio.get_running_loop().call_soon(kind.let, 1)  # while `close` waits, and not before

    run(tmp_path, scenario)


def test_jobs_of_one_kind_run_in_the_order_they_came(tmp_path: Path) -> None:
    async def scenario(runner: JobRunner, kind: Counting) -> None:
        jobs = [await runner.submit("counting", {"to": to}) for to in (2, 1, 1)]
        kind.let(2)
        await runner.ended(jobs[0].id)
        assert runner.get(jobs[2].id).state == "queued"
        kind.let(2)
        ended = [(await runner.ended(job.id)).ended for job in jobs]
        assert ended == sorted(ended)

    run(tmp_path, scenario)


def test_only_so_many_faults_and_ended_jobs_are_kept(tmp_path: Path) -> None:
    record = JobRecord("a" * 16, "counting", {}, "steps", created="2026")
    many = record.with_faults(tuple(Fault(str(i), "x", "y") for i in range(MAX_FAULTS + 5)))
    assert (len(many.faults), many.fault_count) == (MAX_FAULTS, MAX_FAULTS + 5)
    store = JobStore(tmp_path)
    for number in range(KEPT_ENDED + 3):
        store.note(JobRecord(f"{number:016}", "counting", {}, "steps", created=f"{number:04}", state="done"))
        store.keep(f"{number:016}")
    assert [each.id for each in JobStore(tmp_path).all()] == [f"{i:016}" for i in range(3, KEPT_ENDED + 3)]


def test_a_job_that_ends_last_is_kept_however_long_ago_it_was_submitted(tmp_path: Path) -> None:
    store = JobStore(tmp_path)
    old = JobRecord(id="old", kind="counting", params={}, unit="steps", created="2025", state="running")
    store.note(old)
    store.keep("old")
    for number in range(KEPT_ENDED):
        name, moment = f"{number:016}", f"2026-{number:04}"
        store.note(JobRecord(name, "counting", {}, "steps", created=moment, state="done", ended=moment))
        store.keep(name)
    store.note(replace(old, state="done", ended="2027"))
    store.keep("old")
    for kept in (store, JobStore(tmp_path)):
        assert kept.get("old") is not None
        assert len(kept.all()) == KEPT_ENDED
        assert kept.get(f"{0:016}") is None, "the one that ended first has gone"


def test_a_file_that_is_no_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(json.dumps({"format": "isthmus.job/9"}))
    with pytest.raises(IntegrityError, match=r"x\.json"):
        JobStore(tmp_path)

"""A job's reply tells its pace, and how long it will take at that."""

import asyncio
from pathlib import Path
from types import SimpleNamespace

import pytest

from service.jobs.record import JobRecord, job_reply
from service.jobs.store import JobStore
from service.jobs.work import Work


def record(**fields: object) -> JobRecord:
    return JobRecord(id="1", kind="ingest", unit="items", params={}, created="", **fields)


@pytest.mark.parametrize(
    ("done", "total", "rate", "expected"),
    [
        (40, 100, 12.0, (12.0, 5.0)),
        (40, None, 12.0, (12.0, None)),  # of a folder that is still being listed
        (40, 100, 0.0, (0.0, None)),
        (120, 100, 12.0, (12.0, 0.0)),
        (40, 100, None, (None, None)),  # it does not run
    ],
)
def test_rate_and_remaining_time(
    done: int, total: int | None, rate: float | None, expected: tuple[float | None, float | None]
) -> None:
    progress = job_reply(record(done=done, total=total), rate)["progress"]
    assert (progress["rate"], progress["eta_seconds"]) == expected


def test_the_rate_is_that_of_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("service.jobs.work.time", SimpleNamespace(monotonic=lambda: now))

    async def life() -> None:
        nonlocal now
        store = JobStore(tmp_path)
        store.note(record(done=500))  # of a life before this one
        work = Work("1", store)
        assert work.rate() == 0.0
        for _ in range(10):
            now += 2
            await work.report(done=work.record.done + 20)
        assert work.rate() == pytest.approx(10.0)
        for _ in range(40):
            now += 1
            await work.report(done=work.record.done + 3)
        assert work.rate() == pytest.approx(3.0)

    asyncio.run(life())

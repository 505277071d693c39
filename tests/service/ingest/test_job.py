"""An ingest job waits for room, blames only the items at fault, and goes on where it was stopped."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from service.ingest.submission import IngestRequest, submit
from service.jobs.record import JobRecord
from service.runtime import Runtime
from service.settings import Settings

ITEMS = 150


@pytest.fixture
def settings(tiny_bundle: Path, tmp_path: Path) -> Settings:
    """A small queue, and a folder of texts of which two cannot be embedded."""
    root = tmp_path / "root"
    root.mkdir()
    for number in range(ITEMS):
        (root / f"{number:03}.txt").write_text(f"text {number}" + " #fail" * (number in (40, 41)))
    return Settings(
        bundle=str(tiny_bundle),
        data_dir=tmp_path / "data",
        index="local",
        ingest_roots=(root,),
        queue_items=40,
        max_batch=16,
    )


def run(settings: Settings, work: Callable[[Runtime], Awaitable[JobRecord]]) -> JobRecord:
    async def scenario() -> JobRecord:
        runtime = Runtime(settings)
        try:
            await runtime.load()
            return await work(runtime)
        finally:
            runtime.drain()
            await runtime.close()

    return asyncio.run(scenario())


async def submit_texts(runtime: Runtime, key: str | None) -> JobRecord:
    request = IngestRequest("folder", "texts", ".")
    return await submit(runtime.jobs, runtime.inputs, runtime.settings, request, key)


def test_a_full_queue_delays_a_job_and_an_item_fails_alone(settings: Settings) -> None:
    async def ingest(runtime: Runtime) -> JobRecord:
        admission = runtime.pipeline.engine.admission
        reservation = admission.enter([("clip", 1)] * settings.queue_items, 3600.0)
        record = await submit(
            runtime.jobs, runtime.inputs, runtime.settings, IngestRequest("folder", "texts", "."), None
        )
        while runtime.jobs.get(record.id).total is None:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        assert runtime.jobs.get(record.id).done == 0
        for index in range(settings.queue_items):
            reservation.leave(index, done=False)
        while not runtime.jobs.get(record.id).has_ended:
            await asyncio.sleep(0.001)
            assert admission.queues["clip"].items <= settings.queue_items // 2, "requests find room"
        record = runtime.jobs.get(record.id)
        assert runtime.pipeline.index.count("texts") == ITEMS - 2
        assert len(list(runtime.pipeline.media)) == ITEMS - 2
        return record

    record = run(settings, ingest)
    assert record.result == {"stored": ITEMS - 2, "unchanged": 0, "failed": 2}
    assert [fault.item for fault in record.faults] == ["040.txt", "041.txt"]


def test_a_job_goes_on_after_a_stop_without_counting_twice(settings: Settings) -> None:
    async def begin(runtime: Runtime) -> JobRecord:
        record = await submit(
            runtime.jobs, runtime.inputs, runtime.settings, IngestRequest("folder", "texts", "."), "key"
        )
        while runtime.jobs.get(record.id).done == 0:
            await asyncio.sleep(0.001)
        return record

    async def end(runtime: Runtime) -> JobRecord:
        again = await submit(
            runtime.jobs, runtime.inputs, runtime.settings, IngestRequest("folder", "texts", "."), "key"
        )
        record = await runtime.jobs.ended(again.id)
        assert runtime.pipeline.index.count("texts") == ITEMS - 2
        return record

    begun = run(settings, begin)
    ended = run(settings, end)
    assert ended.id == begun.id
    assert ended.done == ended.total == ITEMS
    assert ended.result is not None
    assert ended.result["stored"] + ended.result["unchanged"] == ITEMS - 2
    assert [fault.item for fault in ended.faults] == ["040.txt", "041.txt"]
    assert not list((settings.data_dir / "ingest").iterdir())

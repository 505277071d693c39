"""An ingest job waits for a full queue, blames only the items at fault, and goes on where it was stopped."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest
from tiny_encoders import GATES, Gate
from waiting import async_until

from service.engine.admission import Reservation
from service.errors import Overloaded
from service.ingest.job import AHEAD
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


async def submit_texts(runtime: Runtime, key: str | None = None) -> JobRecord:
    request = IngestRequest("folder", "texts", ".")
    return await submit(runtime.jobs, runtime.inputs, runtime.settings, request, key)


def test_a_full_queue_delays_a_job_and_an_item_fails_alone(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ingest(runtime: Runtime) -> JobRecord:
        admission = runtime.pipeline.engine.admission
        reservation = admission.enter([("clip", 1)] * settings.queue_items, 3600.0)
        enter, refused, held = admission.enter, [0], list[int]()

        def watched(items: Sequence[tuple[str, int]], seconds_left: float) -> Reservation:
            try:
                entered = enter(items, seconds_left)
            except Overloaded:
                refused[0] += 1
                raise
            held.append(admission.queues["clip"].items)
            return entered

        monkeypatch.setattr(admission, "enter", watched)
        record = await submit_texts(runtime)
        await async_until(lambda: refused[0] > AHEAD)  # each batch it has under way, and one of them again
        assert not held and runtime.jobs.get(record.id).done == 0
        for index in range(settings.queue_items):
            reservation.leave(index, done=False)
        record = await runtime.jobs.ended(record.id)
        assert max(held) <= settings.queue_items // 2, "the other half is for requests"
        assert runtime.pipeline.index.count("texts") == ITEMS - 2
        assert len(list(runtime.pipeline.media)) == ITEMS - 2
        return record

    record = run(settings, ingest)
    assert record.result == {"stored": ITEMS - 2, "unchanged": 0, "failed": 2, "truncated": 0}
    assert [fault.item for fault in record.faults] == ["040.txt", "041.txt"]


def test_a_job_goes_on_after_a_stop_without_counting_twice(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is stopped while its last text waits in the encoder, and so never near its end."""
    monkeypatch.setattr("service.ingest.job.REPORT_SECONDS", 0.0)
    monkeypatch.setenv(GATES, str(tmp_path))
    gate = Gate(tmp_path / "hold")
    (settings.ingest_roots[0] / f"{ITEMS - 1:03}.txt").write_text("the last #hold")

    async def begin(runtime: Runtime) -> JobRecord:
        with gate.closed():
            record = await submit_texts(runtime, "key")
            await async_until(lambda: runtime.jobs.get(record.id).done)
            stopping = asyncio.create_task(runtime.jobs.close())
            await asyncio.sleep(0)  # it has told the job to stop, and waits for it
        await stopping
        return runtime.jobs.get(record.id)

    async def end(runtime: Runtime) -> JobRecord:
        again = await submit_texts(runtime, "key")
        record = await runtime.jobs.ended(again.id)
        assert runtime.pipeline.index.count("texts") == ITEMS - 2
        return record

    begun = run(settings, begin)
    assert begun.state == "queued" and 0 < begun.done < ITEMS
    ended = run(settings, end)
    assert ended.id == begun.id
    assert ended.done == ended.total == ITEMS
    assert ended.result is not None
    assert ended.result["stored"] + ended.result["unchanged"] == ITEMS - 2
    assert [fault.item for fault in ended.faults] == ["040.txt", "041.txt"]
    assert not list((settings.data_dir / "ingest").iterdir())


def test_a_folder_ingested_again_leaves_the_metadata_of_its_items_alone(settings: Settings) -> None:
    async def twice(runtime: Runtime) -> JobRecord:
        index = runtime.pipeline.index
        await runtime.jobs.ended((await submit_texts(runtime)).id)
        [changed], _ = index.scroll("texts", 1)
        assert index.set_payload("texts", changed.id, {"metadata": {"kept": True}})
        before = index.get("texts", [changed.id])[0].payload
        record = await runtime.jobs.ended((await submit_texts(runtime)).id)
        assert index.get("texts", [changed.id])[0].payload == before
        return record

    record = run(settings, twice)
    assert record.result == {"stored": 0, "unchanged": ITEMS - 2, "failed": 2, "truncated": 0}


def test_an_item_that_does_not_fit_a_declared_field_or_cannot_be_named_fails_alone(
    settings: Settings,
) -> None:
    lines = [
        {"text": "one", "id": "one", "metadata": {"year": 2026}},
        {"text": "two", "id": "two", "metadata": {"year": "MMXXVI"}},
        {"text": "three", "id": "thr\nee"},
        {"text": "one", "id": "one", "metadata": {"year": True}},
        {"text": "one", "id": "one", "metadata": {}},
    ]
    (settings.ingest_roots[0] / "list.jsonl").write_text("\n".join(map(json.dumps, lines)))

    async def ingest(runtime: Runtime) -> JobRecord:
        runtime.pipeline.index.declare_field("typed", "metadata.year", "integer")
        request = IngestRequest("manifest", "typed", "list.jsonl")
        job = await submit(runtime.jobs, runtime.inputs, runtime.settings, request, None)
        record = await runtime.jobs.ended(job.id)
        [point], _ = runtime.pipeline.index.scroll("typed")
        assert (point.id, point.payload["metadata"]) == ("one", {}), (
            "an empty object takes the place of what was"
        )
        return record

    record = run(settings, ingest)
    assert record.result == {"stored": 2, "unchanged": 0, "failed": 3, "truncated": 0}
    assert {fault.item: fault.code for fault in record.faults} == {
        "two": "invalid_request",
        "line 3": "invalid_request",
        "one": "invalid_request",
    }
    said = " ".join(fault.message for fault in record.faults)
    assert "metadata.year is 'MMXXVI'" in said and "integer" in said and "id: " in said

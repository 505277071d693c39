"""The engine embeds as the space does, shares what is the same, and survives what fails in it."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from media_files import cloud, jpeg, png, wav
from tiny_encoders import GATES, Gate, write_connector
from vector_tolerance import assert_same_vectors
from waiting import async_until

from connectors.bundle import load_bundle
from connectors.connector import load_connector
from connectors.errors import InvalidMedia, IsthmusError
from connectors.space import UnifiedSpace
from service.engine.embedding import Embedding
from service.engine.engine import Engine
from service.engine.media_input import MediaInput
from service.errors import DeadlineExceeded, EncoderFailed, Overloaded
from service.metrics import Metrics
from service.settings import Settings

T = TypeVar("T")


@pytest.fixture(scope="module")
def space(tiny_bundle: Path) -> UnifiedSpace:
    return load_bundle(tiny_bundle)


@pytest.fixture
def clip_gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gate:
    """What the texts and images of the tiny encoders wait for, once it is shut."""
    monkeypatch.setenv(GATES, str(tmp_path))
    return Gate(tmp_path / "clip")


def admitted(engine: Engine, queue: str = "clip") -> int:
    """Items that a queue has let in."""
    return engine.admission.queues[queue].items if queue in engine.admission.queues else 0


def to_be_shown(engine: Engine) -> int:
    """Items that are to be drawn, or are being drawn."""
    queues = engine.preprocessor.display.queues
    return queues["display"].items if queues else 0


def with_engine(space: UnifiedSpace, work: Callable[[Engine], Awaitable[T]], **settings: object) -> T:
    async def run() -> T:
        engine = await Engine.start(space, Settings(**settings), Metrics())
        try:
            return await work(engine)
        finally:
            await engine.close()

    return asyncio.run(run())


def file(data: bytes, name: str = "file") -> MediaInput:
    return MediaInput(data, len(data), name)


def text(value: str) -> MediaInput:
    return MediaInput.text(value, "text")


def embed(space: UnifiedSpace, *items: MediaInput) -> list[Embedding | IsthmusError]:
    return with_engine(space, lambda engine: engine.embed(items, 60.0))


def test_it_gives_the_vectors_of_the_space(space: UnifiedSpace) -> None:
    data = {"image": png("blue"), "audio": wav(), "point_cloud": cloud()}
    embedded = embed(space, *(file(each) for each in data.values()), text("rain"))
    for each, (modality, media) in zip(embedded, [*data.items(), ("text", "rain")], strict=True):
        assert isinstance(each, Embedding)
        assert each.modality == modality
        np.testing.assert_allclose(each.vectors.native, space.encode(modality, [media])[0], atol=1e-5)
        np.testing.assert_allclose(each.vectors.unified, space.embed(modality, [media])[0], atol=1e-5)


def test_errors_stay_at_their_place(space: UnifiedSpace) -> None:
    good, bad, failing = embed(space, file(png()), file(b"\x89PNG\r\n\x1a\n", "bad.png"), text("#fail"))
    assert isinstance(good, Embedding)
    assert isinstance(bad, InvalidMedia)
    assert isinstance(failing, EncoderFailed)


def test_identical_content_is_embedded_once(space: UnifiedSpace) -> None:
    async def work(engine: Engine) -> tuple[list[Embedding | IsthmusError], int, Embedding | IsthmusError]:
        image = jpeg(3)
        together = await engine.embed([file(image) for _ in range(20)] + [file(jpeg(4))], 60.0)
        queue = engine.admission.queues["clip"]
        assert queue.encoder.done <= 2 < queue.leaving.done, "copies leave, and never came to the encoder"
        assert not queue.encoding
        (again,) = await engine.embed([file(image)], 60.0)
        return together, len(engine.cache), again

    together, cached, again = with_engine(space, work)
    assert cached == 2
    first = together[0]
    assert isinstance(first, Embedding) and isinstance(again, Embedding)
    assert again.cached
    for each in [*together[1:20], again]:
        assert isinstance(each, Embedding)
        np.testing.assert_array_equal(each.vectors.unified, first.vectors.unified)


def test_another_connector_projects_what_was_seen_before_without_an_encoder(
    space: UnifiedSpace, tmp_path: Path
) -> None:
    other = load_connector(write_connector(tmp_path / "other", "ulip", seed=9))
    second = space.with_connectors([space.connectors[0], other], space.calibration)
    items = [file(cloud()), text("rain")]

    async def work(engine: Engine) -> tuple[list[Embedding], list[Embedding], list[Embedding]]:
        before = await engine.embed(items, 60.0)
        asked = await engine.embed(items, 60.0, second)
        engine.adopt(second)
        return before, asked, await engine.embed(items, 60.0)

    before, asked, after = with_engine(space, work)
    expected = second.embed("point_cloud", [cloud()])[0].numpy()
    for embedded in (asked, after):
        np.testing.assert_allclose(embedded[0].vectors.unified, expected, atol=1e-5)
        assert_same_vectors(embedded[1].vectors.unified, before[1].vectors.unified)
        assert [each.cached for each in embedded] == [True, True]
        assert {each.vectors.connector for each in embedded} == {second.connector_version}


def test_one_waiter_leaving_does_not_take_the_others_result(space: UnifiedSpace, clip_gate: Gate) -> None:
    async def work(engine: Engine) -> list[Embedding | IsthmusError]:
        with clip_gate.closed():
            leaving = asyncio.create_task(engine.embed([text("shared")], 60.0))
            staying = asyncio.create_task(engine.embed([text("shared")], 60.0))
            await async_until(lambda: admitted(engine) == 2 and any(engine.workers["clip"].running))
            assert engine.workers["clip"].running == (1,) and not engine.workers["clip"].depth, "it is shared"
            leaving.cancel()
            await asyncio.gather(leaving, return_exceptions=True)
            assert admitted(engine) == 1
        return await staying

    (result,) = with_engine(space, work)
    assert isinstance(result, Embedding)


def test_cancelled_items_leave_every_queue(space: UnifiedSpace, clip_gate: Gate) -> None:
    async def work(engine: Engine) -> tuple[int, int]:
        with clip_gate.closed():
            many = asyncio.create_task(engine.embed([text(f"text {i}") for i in range(500)], 60.0))
            await async_until(lambda: engine.workers["clip"].depth)
            many.cancel()
            await asyncio.gather(many, return_exceptions=True)
            held = engine.admission.queues["clip"].items, engine.workers["clip"].depth
        assert isinstance((await engine.embed([text("next")], 60.0))[0], Embedding)
        return held

    assert with_engine(space, work, max_batch=1) == (0, 0)


def test_items_cancelled_before_their_first_step_give_their_reservation_back(space: UnifiedSpace) -> None:
    async def work(engine: Engine) -> int:
        many = asyncio.create_task(engine.embed([text(f"text {i}") for i in range(8)], 60.0))
        await asyncio.sleep(0)  # it has made a task of each item, and none has run yet
        assert engine.admission.queues["clip"].items == 8
        many.cancel()
        await asyncio.gather(many, return_exceptions=True)
        return engine.admission.queues["clip"].items

    assert with_engine(space, work) == 0


def test_what_comes_past_its_deadline_is_not_begun(space: UnifiedSpace) -> None:
    async def work(engine: Engine) -> None:
        with pytest.raises(DeadlineExceeded):
            await engine.embed([text("late")], 0.0)
        assert "clip" not in engine.admission.queues

    with_engine(space, work)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_dies_fails_its_batch_and_is_replaced(space: UnifiedSpace) -> None:
    async def work(
        engine: Engine,
    ) -> tuple[Embedding | IsthmusError, Embedding | IsthmusError, dict[str, bool]]:
        (died,) = await engine.embed([text("#die")], 60.0)
        (after,) = await engine.embed([text("after")], 60.0)
        return died, after, await engine.ready()

    died, after, ready = with_engine(space, work)
    assert isinstance(died, EncoderFailed)
    assert isinstance(after, Embedding)
    assert ready == {"clip": True, "clap": True, "ulip": True}


def test_a_silent_encoder_is_not_ready(
    space: UnifiedSpace, clip_gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.engine.engine.FRESH_SECONDS", 0.0)

    async def work(engine: Engine) -> dict[str, bool]:
        with clip_gate.closed():
            return await engine.ready()

    assert not with_engine(space, work, probe_seconds=0.05)["clip"]


def test_too_much_at_once_is_refused(space: UnifiedSpace, clip_gate: Gate) -> None:
    async def work(engine: Engine) -> None:
        with clip_gate.closed():
            first = asyncio.create_task(engine.embed([text(f"text {i}") for i in range(4)], 60.0))
            await async_until(lambda: admitted(engine) == 4)
            with pytest.raises(Overloaded):
                await engine.embed([text(f"more {i}") for i in range(4)], 60.0)
            # Another encoder's queue is its own.
            other = asyncio.create_task(engine.embed([file(wav())], 60.0))
            await async_until(lambda: engine.workers["clap"].depth or any(engine.workers["clap"].running))
        await first
        assert isinstance((await other)[0], Embedding)

    with_engine(space, work, queue_items=6)


def test_what_is_shown_has_bounds_and_one_turn_beside_each_request(space: UnifiedSpace) -> None:
    async def work(engine: Engine) -> list[str]:
        gate, ended = threading.Event(), list[str]()

        drawn, all_embedded = 0, threading.Event()

        def draw(image: object) -> None:
            nonlocal drawn
            gate.wait(60)
            drawn += 1
            if drawn > 3:
                assert all_embedded.wait(60)

        async def shown(number: int) -> None:
            await engine.draw("image", png, "shown.png", draw, 10, 60.0)
            ended.append(f"shown {number}")

        async def embedded() -> None:
            assert isinstance((await engine.embed([file(png("red"))], 60.0))[0], Embedding)
            ended.append("embedded")
            all_embedded.set()

        tasks = [asyncio.create_task(shown(number)) for number in range(20)]
        await async_until(lambda: to_be_shown(engine) == 20)
        with pytest.raises(Overloaded):
            await engine.draw("image", png, "more.png", lambda image: None, 10, 60.0)
        tasks.append(asyncio.create_task(embedded()))
        await async_until(lambda: admitted(engine) == 1)
        gate.set()
        await asyncio.gather(*tasks)
        assert not to_be_shown(engine)
        return ended

    ended = with_engine(space, work, queue_items=20, decode_threads=1)
    assert ended.index("embedded") <= 3


def test_what_nobody_waits_to_be_shown_leaves_its_queue(space: UnifiedSpace) -> None:
    async def work(engine: Engine) -> int:
        gate = threading.Event()
        drawn = list[int]()
        tasks = [
            asyncio.create_task(
                engine.draw(
                    "image", png, "a.png", lambda image, i=i: (gate.wait(60), drawn.append(i)), 1, 60.0
                )
            )
            for i in range(5)
        ]
        await async_until(lambda: to_be_shown(engine) == 5)
        for task in tasks[1:]:
            task.cancel()
        await asyncio.gather(*tasks[1:], return_exceptions=True)
        held = to_be_shown(engine)
        gate.set()
        await tasks[0]
        assert drawn == [0]
        return held

    assert with_engine(space, work, decode_threads=1) == 1


def test_a_supervisor_whose_duty_fails_goes_on_and_lets_the_engine_close(
    space: UnifiedSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.engine.engine.SUPERVISION_SECONDS", 0.01)

    async def work(engine: Engine) -> None:
        tried, revived = list[str](), list[str]()

        def fail() -> bool:
            tried.append("clap")
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(engine.workers["clap"], "revive", fail)
        monkeypatch.setattr(engine.workers["ulip"], "revive", lambda: revived.append("ulip"))
        await async_until(lambda: len(tried) > 2 and len(revived) > 2)
        assert isinstance((await engine.embed([text("rain")], 60.0))[0], Embedding)

    with_engine(space, work)


def test_a_text_seen_before_needs_no_reservation(space: UnifiedSpace) -> None:
    async def work(engine: Engine) -> list[Embedding | IsthmusError]:
        await engine.embed([text("rain")], 60.0)
        with engine.admission.enter([("clip", 1)] * 4, 60.0):
            with pytest.raises(Overloaded):
                await engine.embed([text("rain"), text("snow")], 60.0)
            return await engine.embed([text("rain"), file(wav()), text("rain")], 60.0)

    rain, sound, again = with_engine(space, work, queue_items=4)
    assert isinstance(rain, Embedding) and isinstance(again, Embedding) and isinstance(sound, Embedding)
    assert [rain.cached, sound.modality, again.cached] == [True, "audio", True]


def test_every_stage_is_timed_for_each_encoder(space: UnifiedSpace) -> None:
    metrics = Metrics()

    async def run() -> None:
        engine = await Engine.start(space, Settings(), metrics)
        try:
            await engine.embed([text("timed"), file(png("blue")), file(wav())], 60.0)
            await engine.embed([text("timed")], 60.0)  # of the cache: no stage to time
        finally:
            await engine.close()

    asyncio.run(run())
    told = metrics.exposition().decode()
    for stage in ("queue", "decode", "inference"):
        assert f'isthmus_item_seconds_count{{encoder="clip",stage="{stage}"}} 2.0' in told
        assert f'isthmus_item_seconds_count{{encoder="clap",stage="{stage}"}} 1.0' in told
    assert 'isthmus_items_total{modality="text"} 2.0' in told

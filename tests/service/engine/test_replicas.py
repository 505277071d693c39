"""Copies of an encoder run side by side, and fail and come back one by one."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
import torch
from tiny_encoders import GATES, Gate
from waiting import SkippingClock, async_until

from connectors.bundle import load_bundle, load_encoders
from connectors.errors import IsthmusError
from connectors.packed_linear import pack
from service.engine.compute import shares
from service.engine.cpu_slots import ALL_CORES, SlotGrant
from service.engine.embedding import Embedding
from service.engine.engine import FRESH_SECONDS, Engine
from service.engine.media_input import MediaInput
from service.engine.replicas import devices_meant, is_small, slots_on_cpu
from service.errors import EncoderFailed
from service.metrics import Metrics
from service.settings import Settings

T = TypeVar("T")
PROBE_SECONDS = 60.0


@pytest.fixture
def gates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(GATES, str(tmp_path))
    return tmp_path


def with_two_copies(bundle: Path, work: Callable[[Engine], Awaitable[T]], **settings: object) -> T:
    async def run() -> T:
        copies = [("cpu", load_encoders(bundle))]
        engine = await Engine.start(load_bundle(bundle), Settings(max_batch=1, **settings), Metrics(), copies)
        try:
            return await work(engine)
        finally:
            await engine.close()

    return asyncio.run(run())


def text(value: str) -> MediaInput:
    return MediaInput.text(value, "text")


def test_one_copy_embeds_while_the_other_is_busy(tiny_bundle: Path, gates: Path) -> None:
    async def work(engine: Engine) -> Embedding | IsthmusError:
        with Gate(gates / "hold").closed():
            held = asyncio.create_task(engine.embed([text("#hold")], 60.0))
            await async_until(lambda: any(engine.workers["clip"].running))
            (other,) = await engine.embed([text("passes by")], 60.0)
            assert not held.done()
        assert isinstance((await held)[0], Embedding)
        return other

    assert isinstance(with_two_copies(tiny_bundle, work), Embedding)


def test_every_copy_gives_the_same_vectors(tiny_bundle: Path) -> None:
    texts = [f"text number {i}" for i in range(60)]

    async def work(engine: Engine) -> list[Embedding | IsthmusError]:
        return await engine.embed([text(each) for each in texts], 60.0)

    expected = load_bundle(tiny_bundle).embed("text", texts)
    for each, vector in zip(with_two_copies(tiny_bundle, work), expected, strict=True):
        assert isinstance(each, Embedding)
        np.testing.assert_allclose(each.vectors.unified, vector, atol=1e-5)


@pytest.mark.parametrize("small", [True, False])
def test_slots_share_the_encoders_of_the_compact_bundle_and_what_waits(
    small: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not small:
        monkeypatch.setattr("service.engine.replicas.SMALL_PARAMETERS", 0)
        monkeypatch.setattr("service.engine.cpu_slots.SLOT_ITEMS", 1)
    space, texts = load_bundle("compact"), [f"a dog and {i} cats" for i in range(400)]
    used = set[int]()

    async def work() -> list[Embedding | IsthmusError]:
        copies = [("cpu", dict(space.encoders))] * 2
        engine = await Engine.start(space, Settings(max_batch=32), Metrics(), copies)
        grant = engine.cpu_slots.run

        def run(function: Callable[[SlotGrant], T], waiting: Callable[[], int], *, small: bool) -> T:
            return grant(lambda given: used.add(given.slot) or function(given), waiting, small=small)

        engine.cpu_slots.run = run
        try:
            alone = await engine.embed([text("a dog alone")], 60.0)
            return [*alone, *await engine.embed([text(each) for each in texts], 60.0)]
        finally:
            await engine.close()

    expected = space.embed("text", ["a dog alone", *texts])
    for each, vector in zip(asyncio.run(work()), expected, strict=True):
        assert isinstance(each, Embedding)
        np.testing.assert_allclose(each.vectors.unified, vector, atol=1e-5)
    assert used == ({0, 1, 2} if small else {ALL_CORES, 0, 1, 2})


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")  # as connectors/precision.py
def test_an_encoder_is_small_by_its_weights_however_they_are_kept() -> None:
    assert all(is_small(encoder) for encoder in load_bundle("compact").encoders.values())
    wide = torch.nn.Sequential(torch.nn.Linear(5_000, 5_000))
    assert not is_small(wide)
    assert not is_small(torch.ao.quantization.quantize_dynamic(wide, {torch.nn.Linear}))
    pack(wide)
    assert not is_small(wide)


def test_there_is_a_slot_a_core_as_long_as_large_encoders_have_one_each() -> None:
    small = list(load_bundle("compact").encoders.values())
    assert [slots_on_cpu(small, cores) for cores in (1, 2, 64)] == [1, 2, 8]
    large = [*small, torch.nn.Linear(5_000, 5_000, device="meta")]
    assert [slots_on_cpu(large, cores) for cores in (1, 2, 8, 9)] == [1, 2, 8, 1]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_of_two_copies_one_may_die_and_is_replaced(tiny_bundle: Path, gates: Path) -> None:
    async def work(engine: Engine) -> int:
        with Gate(gates / "hold").closed():
            held = asyncio.create_task(engine.embed([text("#hold")], 60.0))
            await async_until(lambda: any(engine.workers["clip"].running))
            (died,) = await engine.embed([text("#die")], 60.0)
            assert isinstance(died, EncoderFailed)
            assert isinstance((await engine.embed([text("after")], 60.0))[0], Embedding)
        assert isinstance((await held)[0], Embedding)
        return engine.workers["clip"].restarts

    assert with_two_copies(tiny_bundle, work) == 1


def test_a_copy_that_hangs_is_seen(tiny_bundle: Path, gates: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SkippingClock()
    monkeypatch.setattr("service.engine.worker.time", clock)

    async def work(engine: Engine) -> None:
        with Gate(gates / "hold").closed():
            held = asyncio.create_task(engine.embed([text("#hold")], 60.0))
            await async_until(lambda: any(engine.workers["clip"].running))
            clock.skip(FRESH_SECONDS)
            assert (await engine.ready())["clip"], "the other copy answers, and this one is not late yet"
            clock.skip(PROBE_SECONDS)
            assert not (await engine.ready())["clip"]
        await held

    with_two_copies(tiny_bundle, work, probe_seconds=PROBE_SECONDS)


def test_a_setting_names_one_device_or_several() -> None:
    assert devices_meant("cpu") == ["cpu"]
    assert devices_meant("cuda:0, cuda:1") == ["cuda:0", "cuda:1"]
    assert len(devices_meant("auto")) >= 1


def test_copies_on_the_cpu_share_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.engine.compute.available_cores", lambda: 6)
    nodes = [frozenset({0, 1, 2}), frozenset({3, 4, 5})]
    monkeypatch.setattr("service.engine.compute.numa_nodes", lambda: nodes)
    assert shares(1) == [(6, None)]
    assert shares(2) == [(3, nodes[0]), (3, nodes[1])]
    assert [threads for threads, _ in shares(4)] == [2, 2, 1, 1]

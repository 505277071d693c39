"""The decode pool runs what somebody waits for, forgets what nobody does, and ends though a decoder hangs."""

import asyncio
import gc
import threading
import weakref
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from waiting import SkippingClock, async_until

from service.engine.decode_pool import STUCK_SECONDS, DecodePool
from service.errors import Unavailable


class Media:
    """Something to decode."""


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What a decoder waits for; open in the end."""
    gate = threading.Event()
    yield gate
    gate.set()


def test_what_is_cancelled_lets_go_of_its_media_though_every_thread_is_busy(gate: threading.Event) -> None:
    async def run() -> None:
        pool = DecodePool(1)
        busy = asyncio.create_task(pool.run("one", gate.wait))
        media = Media()
        kept = weakref.ref(media)
        waiting = asyncio.create_task(pool.run("another", lambda media=media: None))
        del media
        await asyncio.sleep(0)  # both are in the queue now
        waiting.cancel()
        with suppress(asyncio.CancelledError):
            await waiting
        del waiting
        await asyncio.sleep(0)  # the event loop is done with it too
        gc.collect()
        assert kept() is None
        gate.set()
        await busy
        await asyncio.to_thread(pool.close)

    asyncio.run(run())


def test_it_closes_though_a_decoder_hangs_and_nobody_waits_for_ever(
    gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.engine.decode_pool.LONGEST_STOP", 0.05, raising=False)
    begun = threading.Event()

    def hang() -> None:
        begun.set()
        gate.wait()

    async def run() -> None:
        pool = DecodePool(1)
        hanging = asyncio.create_task(pool.run("one", hang))
        await asyncio.to_thread(begun.wait)
        waiting = asyncio.create_task(pool.run("another", begun.is_set))
        await asyncio.sleep(0)  # it is in the queue now
        closing = threading.Thread(target=pool.close, daemon=True)
        closing.start()
        async with asyncio.timeout(60):
            with pytest.raises(Unavailable):
                await waiting
            with pytest.raises(Unavailable):
                await pool.run("late", begun.is_set)
            await async_until(lambda: not closing.is_alive())
        gate.set()
        await hanging

    asyncio.run(run())


def test_threads_that_all_hang_are_told_of(gate: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, begun = SkippingClock(), threading.Semaphore(0)
    monkeypatch.setattr("service.engine.decode_pool.time", clock)

    def hang() -> None:
        begun.release()
        gate.wait()

    async def run() -> None:
        pool = DecodePool(2)
        hanging = []
        for flow in ("one", "two"):
            hanging.append(asyncio.create_task(pool.run(flow, hang)))
            await asyncio.to_thread(begun.acquire)
            assert pool.answers(), f"{flow} has only begun"
            clock.skip(STUCK_SECONDS)
            assert pool.answers() is (flow == "one"), "of two threads one is idle, of one none"
        gate.set()
        await asyncio.gather(*hanging)
        await async_until(pool.answers)
        await asyncio.to_thread(pool.close)

    asyncio.run(run())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_died_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """It dies where nothing is caught: as it hands its result to the event loop."""
    dead: list[threading.Thread] = []

    def die(*_: Any) -> None:
        dead.append(threading.current_thread())
        raise SystemExit

    async def run() -> None:
        pool = DecodePool(1)
        with monkeypatch.context() as patch:
            patch.setattr(asyncio.get_running_loop(), "call_soon_threadsafe", die)
            lost = asyncio.create_task(pool.run("one", object))
            await async_until(lambda: dead and not dead[0].is_alive())
        pool.revive()
        async with asyncio.timeout(60):
            assert (await pool.run("two", lambda: 2)).value == 2
        lost.cancel()
        await asyncio.to_thread(pool.close)

    asyncio.run(run())

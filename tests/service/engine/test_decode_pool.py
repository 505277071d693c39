"""The decode pool runs what somebody waits for, lets go of the rest, and ends though a decoder hangs."""

import asyncio
import gc
import threading
import weakref
from collections.abc import Iterator
from contextlib import suppress

import pytest

from service.engine.decode_pool import DecodePool
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
        await asyncio.sleep(0)
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
        await asyncio.sleep(0)
        closing = threading.Thread(target=pool.close, daemon=True)
        closing.start()
        async with asyncio.timeout(60):
            with pytest.raises(Unavailable):
                await waiting
            with pytest.raises(Unavailable):
                await pool.run("late", begun.is_set)
            while closing.is_alive():
                await asyncio.sleep(0.01)
        gate.set()
        await hanging

    asyncio.run(run())


def test_threads_that_all_hang_are_told_of(gate: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.engine.decode_pool.STUCK_SECONDS", 0.05)

    async def run() -> None:
        pool = DecodePool(2)
        hanging = [asyncio.create_task(pool.run("one", gate.wait))]
        await asyncio.sleep(0.2)
        assert pool.answers(), "one is idle"
        hanging.append(asyncio.create_task(pool.run("two", gate.wait)))
        async with asyncio.timeout(60):
            while pool.answers():
                await asyncio.sleep(0.01)
            gate.set()
            await asyncio.gather(*hanging)
            while not pool.answers():
                await asyncio.sleep(0.01)
        await asyncio.to_thread(pool.close)

    asyncio.run(run())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_died_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    tell = DecodePool._tell

    def die(*_: object) -> None:
        raise SystemExit

    async def run() -> None:
        pool = DecodePool(1)
        monkeypatch.setattr(DecodePool, "_tell", die)
        lost = asyncio.create_task(pool.run("one", object))
        async with asyncio.timeout(60):
            while pool._threads[0].is_alive():
                await asyncio.sleep(0.01)
            monkeypatch.setattr(DecodePool, "_tell", staticmethod(tell))
            pool.revive()
            assert (await pool.run("two", lambda: 2)).value == 2
        lost.cancel()
        await asyncio.to_thread(pool.close)

    asyncio.run(run())

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

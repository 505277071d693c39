"""A worker makes batches as they can run, and gives a batch that failed another try."""

import asyncio
import threading
import weakref
from collections.abc import Awaitable, Callable, Sequence

import numpy as np
import pytest
import torch
from tiny_encoders import TinyEncoder
from waiting import SkippingClock, async_until, until

from connectors.encoder import Encoder, Prepared
from service.engine.compute import ComputeThread
from service.engine.cpu_slots import CpuSlots
from service.engine.replicas import OnCpu
from service.engine.worker import EncoderWorker, Matrix

PROMPT = 60
"""Seconds after which what must happen on any machine, however slow, is taken not to."""
ITEM = Prepared("text", torch.zeros(1, 1), 3)
Result = tuple[Matrix, Matrix, str]


def vectors(batch: Sequence[Prepared]) -> Result:
    return np.ones((len(batch), 2), np.float32), np.ones((len(batch), 2), np.float32), "connector"


class Recorder:
    """Encodes as it is told, once its gate is open, and keeps the sizes of its batches."""

    def __init__(self, encode: Callable[[Sequence[Prepared]], Result] = vectors) -> None:
        self.batches: list[int] = []
        self.begun = threading.Event()
        self.gate = threading.Event()
        self._encode = encode

    def __call__(self, encoder: Encoder, batch: Sequence[Prepared]) -> Result:
        self.begun.set()
        self.gate.wait(PROMPT)
        self.batches.append(len(batch))
        return self._encode(batch)


def worker_of(recorder: Recorder, slots: CpuSlots) -> EncoderWorker:
    return EncoderWorker(
        "tiny",
        recorder,
        [OnCpu([TinyEncoder("clip")], slots, small=True)],
        max_rows=8,
        batch_seconds=100 * PROMPT,
        observe=lambda encoder, modality, items, seconds: None,
    )


async def embed_behind_one(recorder: Recorder, worker: EncoderWorker, items: Sequence[Prepared]) -> None:
    """Have items embedded that all wait while one is in its batch."""
    first = worker.submit("flow", ITEM)
    await asyncio.to_thread(recorder.begun.wait, PROMPT)
    together = [worker.submit("flow", each) for each in items]
    recorder.gate.set()
    await asyncio.gather(first, *together)


def with_a_slot(work: Callable[[CpuSlots], Awaitable[None]]) -> None:
    slots = CpuSlots([ComputeThread(1)])
    try:
        asyncio.run(work(slots))
    finally:
        slots.close()


@pytest.mark.parametrize("reason", [MemoryError, ValueError])
def test_a_failed_batch_is_run_again_without_what_it_had_computed(reason: type[Exception]) -> None:
    class Activations:
        """What an encoder computes on its way."""

    computed: list[weakref.ref[Activations]] = []

    def encode(batch: Sequence[Prepared]) -> Result:
        alive = [each for each in computed if each() is not None]
        activations = Activations()
        computed.append(weakref.ref(activations))
        if len(batch) > 1:
            raise reason("this batch fails on purpose")
        assert not alive, "the failed batch still holds its memory"
        return vectors(batch)

    async def work(slots: CpuSlots) -> None:
        recorder = Recorder(encode)
        worker = worker_of(recorder, slots)
        await embed_behind_one(recorder, worker, [ITEM] * 2)
        assert recorder.batches == [1, 2, 1, 1]
        worker.close()

    with_a_slot(work)


def test_what_comes_while_another_encoder_computes_goes_into_one_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = SkippingClock()
    monkeypatch.setattr("service.engine.worker.time", clock)

    async def work(slots: CpuSlots) -> None:
        other, recorder = Recorder(), Recorder()
        recorder.gate.set()
        busy, worker = worker_of(other, slots), worker_of(recorder, slots)
        before = busy.submit("flow", ITEM)
        await asyncio.to_thread(other.begun.wait, PROMPT)
        together = [worker.submit("flow", ITEM)]
        await async_until(lambda: slots.waiting)  # a worker that takes its batch too early has taken it now
        together += [worker.submit("flow", ITEM) for _ in range(3)]
        clock.skip(100)
        other.gate.set()
        first, *_ = await asyncio.gather(*together)
        await before
        assert recorder.batches == [4]
        assert first.waited >= 100, "the other encoder's time is no part of this one's batch"
        busy.close()
        worker.close()

    with_a_slot(work)


def test_a_batch_is_filled_by_rows_whatever_the_number_of_items() -> None:
    long = Prepared("text", torch.zeros(4, 1), 3)

    async def work(slots: CpuSlots) -> None:
        recorder = Recorder()
        worker = worker_of(recorder, slots)
        await embed_behind_one(recorder, worker, [long] * 3)
        assert recorder.batches == [1, 2, 1], "8 rows fit: two items of 4"
        worker.close()

    with_a_slot(work)


async def the_way_to_a_client_and_back(name: int) -> None:
    """To each another: a worker that waits for nobody has begun when the nearest client is back."""
    await asyncio.sleep(0.003 * (1 + name))


def test_clients_who_come_back_at_once_end_up_in_one_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch takes until everybody else waits, and half a minute by the clock; the next may be waited for as
    long. So those just answered are seen to come back, and are back in time, however slow they are.
    """
    clock, clients, enough = SkippingClock(), 4, 20
    monkeypatch.setattr("service.engine.worker.time", clock)
    monkeypatch.setattr("service.engine.arrival_prediction.WINDOW", PROMPT)

    async def work(slots: CpuSlots) -> None:
        def encode(batch: Sequence[Prepared]) -> Result:
            until(lambda: worker.depth + len(batch) == clients or len(recorder.batches) >= enough, PROMPT)
            clock.skip(PROMPT / 2)
            return vectors(batch)

        recorder = Recorder(encode)
        worker = worker_of(recorder, slots)

        async def client(name: int) -> None:
            while len(recorder.batches) < enough:
                await worker.submit(name, ITEM)
                await the_way_to_a_client_and_back(name)

        async with asyncio.TaskGroup() as group:
            group.create_task(client(0))
            await asyncio.to_thread(recorder.begun.wait, PROMPT)
            for name in range(1, clients):
                group.create_task(client(name))
            recorder.gate.set()
        assert set(recorder.batches[10:]) == {clients}, recorder.batches
        worker.close()

    with_a_slot(work)

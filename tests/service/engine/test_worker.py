"""A worker makes batches as they can run, and gives a batch that failed another try."""

import asyncio
import threading
import time
import weakref
from collections.abc import Awaitable, Callable, Sequence

import numpy as np
import pytest
import torch
from tiny_encoders import TinyEncoder

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


def worker_of(recorder: Recorder, compute: ComputeThread) -> EncoderWorker:
    return EncoderWorker(
        "tiny",
        recorder,
        [OnCpu([TinyEncoder("clip")], CpuSlots([compute]), small=True)],
        max_rows=8,
        batch_seconds=PROMPT,
        observe=lambda encoder, modality, items, seconds: None,
    )


async def embed_behind_one(recorder: Recorder, worker: EncoderWorker, items: Sequence[Prepared]) -> None:
    """Have items embedded that all wait while one is in its batch."""
    first = worker.submit("flow", ITEM)
    await asyncio.to_thread(recorder.begun.wait, PROMPT)
    together = [worker.submit("flow", each) for each in items]
    recorder.gate.set()
    await asyncio.gather(first, *together)


def with_compute(work: Callable[[ComputeThread], Awaitable[None]]) -> None:
    compute = ComputeThread(1)
    try:
        asyncio.run(work(compute))
    finally:
        compute.close()


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

    async def work(compute: ComputeThread) -> None:
        recorder = Recorder(encode)
        worker = worker_of(recorder, compute)
        await embed_behind_one(recorder, worker, [ITEM] * 2)
        assert recorder.batches == [1, 2, 1, 1]
        worker.close()

    with_compute(work)


def test_what_comes_while_another_encoder_computes_goes_into_one_batch() -> None:
    async def work(compute: ComputeThread) -> None:
        other, recorder = Recorder(), Recorder()
        recorder.gate.set()
        busy, worker = worker_of(other, compute), worker_of(recorder, compute)
        before = busy.submit("flow", ITEM)
        await asyncio.to_thread(other.begun.wait, PROMPT)
        together = [worker.submit("flow", ITEM)]
        entered = time.perf_counter()
        await asyncio.sleep(0.1)  # a worker that takes its batch too early has taken it now
        together += [worker.submit("flow", ITEM) for _ in range(3)]
        free = time.perf_counter()
        other.gate.set()
        first, *_ = await asyncio.gather(*together)
        await before
        assert recorder.batches == [4]
        assert first.waited >= free - entered, "the other encoder's time is no part of this one's batch"
        busy.close()
        worker.close()

    with_compute(work)


def test_a_batch_is_filled_by_rows_whatever_the_number_of_items() -> None:
    long = Prepared("text", torch.zeros(4, 1), 3)

    async def work(compute: ComputeThread) -> None:
        recorder = Recorder()
        worker = worker_of(recorder, compute)
        await embed_behind_one(recorder, worker, [long] * 3)
        assert recorder.batches == [1, 2, 1], "8 rows fit: two items of 4"
        worker.close()

    with_compute(work)


def test_clients_who_come_back_at_once_end_up_in_one_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.engine.arrival_prediction.WINDOW", PROMPT)
    clients, rounds = 4, 16

    def encode(batch: Sequence[Prepared]) -> Result:
        time.sleep(0.1)
        return vectors(batch)

    async def work(compute: ComputeThread) -> None:
        recorder = Recorder(encode)
        worker = worker_of(recorder, compute)

        async def client(name: int) -> None:
            for _ in range(rounds):
                await worker.submit(name, ITEM)
                await asyncio.sleep(0.003)  # the way to a client and back

        async with asyncio.TaskGroup() as group:
            group.create_task(client(0))
            await asyncio.to_thread(recorder.begun.wait, PROMPT)
            for name in range(1, clients):
                group.create_task(client(name))
            await asyncio.sleep(0)
            recorder.gate.set()
        assert recorder.batches[10:].count(clients) > rounds / 4, recorder.batches
        worker.close()

    with_compute(work)

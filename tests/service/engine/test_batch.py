"""A batch holds one modality, items of like length, and nobody's abandoned work."""

import asyncio
from collections.abc import Callable

import pytest
import torch

from connectors.encoder import Prepared
from connectors.modality import Modality
from service.engine.batch import QueuedItem, next_batch
from service.engine.fair_queue import FairQueue

MakeJob = Callable[..., QueuedItem]


@pytest.fixture
def make_job() -> MakeJob:
    loop = asyncio.new_event_loop()

    def make(modality: Modality = "text", length: int = 5, rows: int = 1) -> QueuedItem:
        return QueuedItem(
            object(), Prepared(modality, torch.zeros(rows, 1), length), loop.create_future(), 0.0
        )

    yield make
    loop.close()


def queue_of(*jobs: QueuedItem) -> FairQueue[QueuedItem]:
    queue: FairQueue[QueuedItem] = FairQueue()
    for job in jobs:
        queue.push("flow", job)
    return queue


def test_modalities_are_never_mixed(make_job: MakeJob) -> None:
    jobs = [make_job("image"), make_job("text"), make_job("image")]
    queue = queue_of(*jobs)
    assert next_batch(queue, 8) == [jobs[0], jobs[2]]
    assert next_batch(queue, 8) == [jobs[1]]


def test_items_nearest_in_length_to_the_first_go_with_it(make_job: MakeJob) -> None:
    jobs = [make_job(length=length) for length in (10, 90, 12, 80, 11)]
    queue = queue_of(*jobs)
    assert next_batch(queue, 3) == [jobs[0], jobs[4], jobs[2]]
    assert next_batch(queue, 3) == [jobs[1], jobs[3]]


def test_rows_are_bounded_but_one_item_always_goes(make_job: MakeJob) -> None:
    long, short = make_job(rows=50), make_job(rows=1)
    queue = queue_of(long, short)
    assert next_batch(queue, 8) == [long]
    assert next_batch(queue, 8) == [short]


def test_what_nobody_waits_for_is_dropped(make_job: MakeJob) -> None:
    jobs = [make_job() for _ in range(3)]
    jobs[0].future.cancel()
    queue = queue_of(*jobs)
    assert next_batch(queue, 8) == jobs[1:]
    jobs[1].future.cancel()
    queue = queue_of(jobs[1])
    assert next_batch(queue, 8) == []
    assert len(queue) == 0


def test_each_modality_has_as_many_rows_as_are_done_in_time(make_job: MakeJob) -> None:
    texts, images = [make_job("text") for _ in range(4)], [make_job("image") for _ in range(4)]
    queue = queue_of(*texts, *images)
    in_time = {"image": 2, "text": 100}
    assert next_batch(queue, 3, in_time) == texts[:3]
    assert next_batch(queue, 3, in_time) == [texts[3]]
    assert next_batch(queue, 3, in_time) == images[:2]
    assert next_batch(queue, 3, {"image": 0}) == [images[2]]

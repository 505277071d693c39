"""Those who wait for the same content share one job, whenever they come."""

import asyncio

import numpy as np

from service.engine.batch import Encoded
from service.engine.cache import CacheKey, VectorCache
from service.engine.embedding import Vectors
from service.engine.in_flight import InFlightRequests

KEY = CacheKey("0" * 64, "text", "encoder")
VECTOR = np.ones(4, np.float32)
ENCODED = Encoded(Vectors(VECTOR, VECTOR, 3, "connector"), waited=0.1, took=0.2)


class Jobs:
    """Starts jobs and keeps them, for a test to finish."""

    def __init__(self) -> None:
        self.started: list[asyncio.Future[Encoded]] = []

    def start(self) -> "asyncio.Future[Encoded]":
        self.started.append(asyncio.get_running_loop().create_future())
        return self.started[-1]


async def turn() -> None:
    """Let every task that can go on do so."""
    for _ in range(5):
        await asyncio.sleep(0)  # a step each: none of these tasks needs more than five


def test_those_who_come_while_it_is_under_way_share_it() -> None:
    async def run() -> None:
        in_flight, jobs = InFlightRequests(VectorCache(10)), Jobs()
        waiting = [asyncio.create_task(in_flight.join(KEY, jobs.start)) for _ in range(3)]
        await turn()
        [job] = jobs.started
        job.set_result(ENCODED)
        assert await asyncio.gather(*waiting) == [ENCODED] * 3

    asyncio.run(run())


def test_who_comes_just_after_it_was_done_is_given_what_was_kept() -> None:
    async def run() -> None:
        in_flight, jobs = InFlightRequests(VectorCache(10)), Jobs()
        first = asyncio.create_task(in_flight.join(KEY, jobs.start))
        await turn()
        jobs.started[0].set_result(ENCODED)
        await first
        late = await in_flight.join(KEY, jobs.start)
        assert late.vectors is ENCODED.vectors
        assert len(jobs.started) == 1

    asyncio.run(run())


def test_a_job_is_cancelled_when_the_last_who_waits_leaves() -> None:
    async def run() -> None:
        in_flight, jobs = InFlightRequests(VectorCache(10)), Jobs()
        leaving, staying = (asyncio.create_task(in_flight.join(KEY, jobs.start)) for _ in range(2))
        await turn()
        leaving.cancel()
        await turn()
        assert not jobs.started[0].cancelled()
        staying.cancel()
        await turn()
        assert jobs.started[0].cancelled()

    asyncio.run(run())

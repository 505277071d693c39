"""The loops that send requests: closed (each connection waits for its answer) and open (as time says).

Given whole HTTP requests and a port on this machine, they give back a `Load`: what was answered, and when.
"""

import asyncio
import re
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count

import numpy as np

LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
CONNECTIONS = 512
"""Connections an open loop may hold at once; what finds none free counts as unsent."""


@dataclass(frozen=True)
class Load:
    """What one loop measured of answers with 200: seconds since it began, and latencies in milliseconds."""

    seconds: float
    ended: np.ndarray
    latencies: np.ndarray
    statuses: Counter[int] = field(default_factory=Counter)
    unsent: int = 0

    @property
    def rate(self) -> float:
        """Requests well answered, a second."""
        return len(self.latencies) / self.seconds

    def percentile(self, q: float) -> float:
        """A percentile of the latencies, in ms."""
        return float(np.percentile(self.latencies, q)) if len(self.latencies) else float("nan")


class Tally:
    """What a running loop has seen so far."""

    def __init__(self) -> None:
        self.started = time.perf_counter()
        self.ended: list[float] = []
        self.latencies: list[float] = []
        self.statuses: Counter[int] = Counter()

    def add(self, status: int, sent: float) -> None:
        """Count one answer."""
        now = time.perf_counter()
        self.statuses[status] += 1
        if status == 200:
            self.ended.append(now - self.started)
            self.latencies.append((now - sent) * 1000)

    def load(self, seconds: float | None = None, unsent: int = 0) -> Load:
        """All of it, in so many seconds, or in those until now."""
        seconds = seconds or time.perf_counter() - self.started
        return Load(seconds, np.array(self.ended), np.array(self.latencies), self.statuses, unsent)


async def ask(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes
) -> tuple[int, bytes]:
    """Send one request and read its answer: status and body."""
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    length = LENGTH.search(head)
    body = await reader.readexactly(int(length[1]) if length else 0)
    return int(head[9:12]), body


async def closed_loop(port: int, requests: Sequence[bytes], concurrency: int, seconds: float) -> Load:
    """`concurrency` connections, each sending its next request when the last one is answered with 200.

    What is counted begins when each has had its first answer, and ends `seconds` later, or with the first
    that comes after that if none did: neither the first batch, which is small, nor the last ones, when
    connections end, are part of it.
    """
    turn, waiting, tally = count(), concurrency, Tally()

    async def connection() -> None:
        nonlocal waiting, tally

        async def ask_next() -> tuple[int, float]:
            sent = time.perf_counter()
            status, body = await ask(reader, writer, requests[next(turn) % len(requests)])
            if status != 200:
                raise RuntimeError(f"the server answered {status}: {body[:500].decode(errors='replace')}")
            return status, sent

        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await ask_next()
        waiting -= 1
        if not waiting:
            tally = Tally()
        while True:
            answer = await ask_next()
            if waiting:
                continue
            if tally.latencies and time.perf_counter() > tally.started + seconds:
                break
            tally.add(*answer)
        writer.close()

    await asyncio.gather(*(connection() for _ in range(concurrency)))
    return tally.load(max(seconds, tally.ended[-1]))


async def counted_loop(
    port: int, make: Callable[[int], bytes], total: int, concurrency: int, watch: Callable[[int], None]
) -> Load:
    """A closed loop of `total` requests, each made when it is sent; `watch` is told how many are done."""
    tally, turn = Tally(), iter(range(total))

    async def connection() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for number in turn:
            sent = time.perf_counter()
            status, _ = await ask(reader, writer, make(number))
            tally.add(status, sent)
            watch(tally.statuses.total())
        writer.close()

    await asyncio.gather(*(connection() for _ in range(concurrency)))
    return tally.load()


async def open_loop(port: int, requests: Sequence[bytes], rate: float, seconds: float) -> Load:
    """`rate` requests a second, whatever becomes of them: those turned away are not sent again.

    Latency counts from the moment a request was due, so that a late sender hides nothing.
    """
    tally, idle, unsent, opened = Tally(), deque[tuple[asyncio.StreamReader, asyncio.StreamWriter]](), 0, 0
    running: set[asyncio.Task[None]] = set()

    async def send(request: bytes, due: float) -> None:
        nonlocal opened
        while idle and idle[-1][0].at_eof():  # the server closes what is idle for long
            idle.pop()[1].close()
            opened -= 1
        if idle:
            connection = idle.pop()
        else:
            opened += 1
            connection = await asyncio.open_connection("127.0.0.1", port)
        try:
            status, _ = await ask(*connection, request)
        except (OSError, EOFError):
            opened -= 1
            tally.statuses[0] += 1
            return
        tally.add(status, due)
        idle.append(connection)

    number = 0
    while (now := time.perf_counter()) < tally.started + seconds:
        while number < (now - tally.started) * rate:
            if idle or opened < CONNECTIONS:
                due = tally.started + number / rate
                task = asyncio.create_task(send(requests[number % len(requests)], due))
                running.add(task)
                task.add_done_callback(running.discard)
            else:
                unsent += 1
            number += 1
        await asyncio.sleep(0.002)
    await asyncio.gather(*running)
    load = tally.load(unsent=unsent)
    for _, writer in idle:
        writer.close()
    return load

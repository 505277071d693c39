"""The loops that send requests: closed (each connection waits for its answer) and open (as time says).

Given whole HTTP requests and a port on this machine, they give back a `Load`: what was answered, and when.
"""

import asyncio
import re
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import cast

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


class Asking(asyncio.Protocol):
    """A connection that asks one thing after another, and calls back when it is answered.

    The load of an open loop is on the cores that it measures: a task a request would cost as much again.
    """

    def __init__(
        self, answered: Callable[["Asking", int, float], None], lost: Callable[["Asking"], None]
    ) -> None:
        self._answered, self._lost = answered, lost
        self._received = bytearray()
        self._due: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are none by class

    def ask(self, request: bytes, due: float) -> None:
        """Send a request that was due at that moment."""
        self._due = due
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Call back once an answer is complete."""
        self._received += data
        head = self._received.find(b"\r\n\r\n")
        if head < 0 or self._due is None:
            return
        length = LENGTH.search(self._received, 0, head + 2)
        if len(self._received) < head + 4 + (int(length[1]) if length else 0):
            return
        status, due = int(self._received[9:12]), self._due
        self._received.clear()
        self._due = None
        self._answered(self, status, due)

    def connection_lost(self, error: Exception | None) -> None:
        """End, perhaps in the midst of an answer."""
        self._lost(self)

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()

    @property
    def busy(self) -> bool:
        """Whether an answer is awaited."""
        return self._due is not None


async def open_loop(port: int, requests: Sequence[bytes], rate: float, seconds: float) -> Load:
    """`rate` requests a second, whatever becomes of them: those refused are not sent again.

    Latency counts from the moment a request was due, so that a late sender hides nothing.
    """
    tally, unsent, number = Tally(), 0, 0
    loop, idle, every = asyncio.get_running_loop(), deque[Asking](), set[Asking]()

    def answered(connection: Asking, status: int, due: float) -> None:
        tally.add(status, due)
        idle.append(connection)

    def lost(connection: Asking) -> None:
        every.discard(connection)
        if connection.busy:
            tally.statuses[0] += 1
        else:  # the server closes what is idle for long
            with suppress(ValueError):
                idle.remove(connection)

    async def connect() -> Asking:
        _, connection = await loop.create_connection(lambda: Asking(answered, lost), "127.0.0.1", port)
        every.add(connection)
        return connection

    while (now := time.perf_counter()) < tally.started + seconds:
        while number < (now - tally.started) * rate:
            due = tally.started + number / rate
            if idle or len(every) < CONNECTIONS:
                connection = idle.pop() if idle else await connect()
                connection.ask(requests[number % len(requests)], due)
            else:
                unsent += 1
            number += 1
        await asyncio.sleep(0.002)
    while any(connection.busy for connection in every):
        await asyncio.sleep(0.01)
    load = tally.load(unsent=unsent)
    for connection in list(every):
        connection.close()
    return load

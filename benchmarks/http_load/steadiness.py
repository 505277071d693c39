"""What a server does under more than it can take, and over many requests.

Holds `overload`, an open loop at ten times what the server answers, and `soak`, many mixed requests. Both
give rows of the benchmark's table.
"""

import asyncio
import time
from collections.abc import Callable
from functools import cache

import numpy as np

from benchmarks._rows import Row, at_least, at_most
from benchmarks.http_load.loops import closed_loop, counted_loop, open_loop
from benchmarks.http_load.media import content, embed_body, http_request, http_requests
from benchmarks.http_load.servers import Running

OVERLOAD = 10
CONCURRENCY = 32
DIFFERENT = {"text": 8192, "image": 2048}
"""Requests of an open loop, more than are sent while one waits, of whose equals one is embedded."""
QUEUE_ITEMS = 64
"""The queue bound of the server under overload: small, so that its p99 can be told from no bound at all."""
WARM_UP = 0.15
"""Share of a soak after which memory is taken to have its size: pools, allocators and the cache are full."""
MEDIA_IN_A_HUNDRED = 10
"""Of a hundred requests of a soak, so many are images, as many sounds and as many clouds; the rest texts."""
POOL = 1500
"""Different small files of each kind in a soak: more than the server's cache holds."""
SOAK_CACHE = 1000


def overload(server: Running, kind: str, seconds: float) -> list[Row]:
    """An open loop at `OVERLOAD` times the saturated rate, then a closed one to see the server recover."""
    requests = http_requests(kind, [content(kind, seed) for seed in range(DIFFERENT[kind])], 1, embed_body)
    asyncio.run(closed_loop(server.port, requests, CONCURRENCY, seconds / 4))
    saturated = asyncio.run(closed_loop(server.port, requests, 2 * QUEUE_ITEMS // 3, seconds / 2))
    before = server.memory()
    flooded = asyncio.run(open_loop(server.port, requests, OVERLOAD * saturated.rate, seconds))
    grown = server.memory() / before - 1
    started = time.perf_counter()
    while server.get("/readyz").status_code != 200:
        time.sleep(0.05)
    asyncio.run(closed_loop(server.port, requests, 1, 0.5))
    recovered = time.perf_counter() - started - 0.5
    after = asyncio.run(closed_loop(server.port, requests, 2 * QUEUE_ITEMS // 3, seconds / 2))
    in_time = int((flooded.ended <= seconds).sum())
    goodput = in_time / seconds / saturated.rate
    # A full queue takes this long at the saturated pace; a batch more may be under way, and one just begun.
    bound = 1000 * (QUEUE_ITEMS + 2 * CONCURRENCY) / saturated.rate * 2
    asked = sum(flooded.statuses.values()) + flooded.unsent
    strange = sum(count for status, count in flooded.statuses.items() if status not in (200, 429))
    p99 = flooded.percentile(99)
    name = f"{kind}, open loop at {OVERLOAD} x"
    refused = flooded.statuses[429] / max(asked, 1)
    return [
        Row(f"{kind}: saturated", saturated.rate, "requests/s"),
        Row(f"{name}: offered", asked / seconds, "requests/s"),
        Row(f"{name}: refused with 429", refused, "of all"),
        Row(f"{name}: not sent, as every connection was busy", flooded.unsent / max(asked, 1), "of all"),
        at_most(f"{name}: answered with neither 200 nor 429", strange, "requests", 0),
        at_least(f"{name}: goodput", goodput, "of saturated", 0.9),
        at_most(f"{name}: p99 of those accepted", p99, "ms", round(bound)),
        at_most(f"{name}: memory grown", 100 * grown, "%", 5),
        at_most(f"{kind}: ready again after", recovered, "s", 5),
        at_least(f"{kind}: saturated again", after.rate / saturated.rate, "of before", 0.9),
    ]


def soak(server: Running, count: int, tell: Callable[[str], None]) -> list[Row]:
    """`count` mixed requests; how the server's memory grew after the first of them."""
    sizes: list[tuple[int, int]] = []
    step = max(count // 200, 1)
    started = time.perf_counter()

    def watch(done: int) -> None:
        if done % step == 0:
            sizes.append((done, server.memory()))
            if done % (20 * step) == 0:
                tell(
                    f"{done} requests, {sizes[-1][1] / 2**20:.1f} MiB, {time.perf_counter() - started:.0f} s"
                )

    load = asyncio.run(counted_loop(server.port, _mixed, count, CONCURRENCY, watch))
    warm = [size for done, size in sizes if WARM_UP * count <= done <= 2 * WARM_UP * count]
    last = [size for done, size in sizes if done >= (1 - WARM_UP) * count]
    grown = float(np.median(last) / np.median(warm) - 1)
    return [
        Row("soak: requests", count, "requests"),
        at_most("soak: failed", count - load.statuses[200], "requests", 0),
        Row("soak: rate", load.rate, "requests/s"),
        Row("soak: memory after warm-up", float(np.median(warm)) / 2**20, "MiB"),
        Row("soak: memory at the end", float(np.median(last)) / 2**20, "MiB"),
        at_most("soak: memory grown after warm-up", 100 * grown, "%", 5),
    ]


def _mixed(number: int) -> bytes:
    """Request `number` of a soak: every text another one, files in turn out of a pool."""
    turn = number % 100 // MEDIA_IN_A_HUNDRED
    if turn >= 3:
        return http_request(*embed_body("text", [content("text", number)]))
    kind = ("image", "audio", "point_cloud")[turn]
    return _pooled(kind, (number // 100 * MEDIA_IN_A_HUNDRED + number % MEDIA_IN_A_HUNDRED) % POOL)


@cache
def _pooled(kind: str, seed: int) -> bytes:
    return http_request(*embed_body(kind, [content(kind, seed, small=True)]))

"""What serving over a real socket costs, beside the encoder alone and an endpoint without batching.

    python benchmarks/serving.py [--bundle compact] [--quick] [--json]

The server is `isthmus serve` in a process of its own, without its cache; this process makes the load, in a
closed loop, one item a request. The plain endpoint is FastAPI over the same encoders without batching. The
raw loop is decoding and encoding in this process, with no server at all.
"""

# ruff: noqa: E402
import sys
from pathlib import Path

sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != Path(__file__).parent]

import argparse
import asyncio
import base64
import io
import json
import os
import platform
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import soundfile
from PIL import Image
from rich.console import Console
from rich.table import Table

CONCURRENCIES = (1, 8, 32, 128)
BATCHES = (1, 8, 32)
KINDS = ("text", "image", "audio", "point_cloud")
START_SECONDS = 120


@dataclass(frozen=True)
class Load:
    """What one closed loop measured: requests a second, and the latencies of all of them in ms."""

    rate: float
    latencies: np.ndarray

    def percentile(self, q: float) -> float:
        """A percentile of the latencies, in ms."""
        return float(np.percentile(self.latencies, q))


def item(kind: str, seed: int) -> dict[str, str]:
    """An item of an embed body, another for every seed: 640 x 480 JPEGs, 5 s of WAV, 8,192 points."""
    if kind == "text":
        return {"text": f"picture number {seed} of a dog that barks at the postman"}
    random, buffer = np.random.default_rng(seed), io.BytesIO()
    if kind == "image":
        pixels = random.integers(0, 255, (15, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((640, 480), Image.Resampling.BICUBIC).save(buffer, "JPEG")
    elif kind == "audio":
        soundfile.write(buffer, random.normal(0, 0.1, 5 * 48_000), 48_000, format="WAV")
    else:
        np.save(buffer, random.normal(size=(8192, 3)).astype(np.float32))
    return {kind: base64.b64encode(buffer.getvalue()).decode()}


def requests_of(kind: str, count: int) -> list[bytes]:
    """Whole HTTP requests, made before the clock runs."""
    made = []
    for seed in range(count):
        body = json.dumps({"items": [item(kind, seed)], "store": False, "return_vectors": True}).encode()
        head = "POST /embed HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n"
        made.append(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
    return made


async def closed_loop(port: int, requests: list[bytes], concurrency: int, seconds: float) -> Load:
    """`concurrency` connections, each sending its next request when the last one is answered."""
    latencies: list[float] = []
    turn = iter(range(10**9))
    started = time.perf_counter()

    async def connection() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.perf_counter() < started + seconds:
            sent = time.perf_counter()
            writer.write(requests[next(turn) % len(requests)])
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
            await reader.readexactly(int(length[1]) if length else 0)
            if b" 200 " not in head.split(b"\r\n")[0]:
                raise RuntimeError(f"the server answered {head.decode()}")
            latencies.append((time.perf_counter() - sent) * 1000)
        writer.close()

    await asyncio.gather(*(connection() for _ in range(concurrency)))
    return Load(len(latencies) / (time.perf_counter() - started), np.array(latencies))


def raw_loop(bundle: str, count: int) -> dict[str, tuple[float, dict[int, float]]]:
    """For each kind: milliseconds to decode an item, and to encode one in batches of each size."""
    from connectors import load_bundle

    space = load_bundle(bundle)
    found = {}
    for kind in KINDS:
        items = [item(kind, seed)[kind] for seed in range(count)]
        data = [each.encode() if kind == "text" else base64.b64decode(each) for each in items]
        started = time.perf_counter()
        prepared = [space.prepare(kind, space.decode(kind, each)) for each in data]
        decode = (time.perf_counter() - started) / count * 1000
        costs = {}
        for size in BATCHES:
            space.project(kind, space.encode_prepared(prepared[:size]))
            started = time.perf_counter()
            for start in range(0, count, size):
                space.project(kind, space.encode_prepared(prepared[start : start + size]))
            costs[size] = (time.perf_counter() - started) / count * 1000
        found[kind] = (decode, costs)
    return found


@contextmanager
def server(arguments: list[str]) -> Iterator[int]:
    """A server process; gives the port it says it listens on."""
    environment = {**os.environ, "ISTHMUS_CACHE_ITEMS": "0"}
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen([sys.executable, *arguments], stderr=log, env=environment)
        try:
            yield _listening_port(process, log.fileno())
        finally:
            process.terminate()
            process.wait()


def _listening_port(process: "subprocess.Popen[bytes]", log: int) -> int:
    import httpx

    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        said = re.search(rb"http://127\.0\.0\.1:(\d+)", os.pread(log, 65536, 0))
        if said:
            try:
                if httpx.get(f"http://127.0.0.1:{int(said[1])}/readyz").status_code == 200:
                    return int(said[1])
            except httpx.TransportError:
                pass
        time.sleep(0.1)
    raise RuntimeError(f"the server did not start: {os.pread(log, 65536, 0).decode()}")


def serve_plainly(bundle: str) -> None:
    """The peer: an endpoint anyone would write first, one item at a time in FastAPI's own threads."""
    import socket

    import uvicorn
    from fastapi import FastAPI

    from connectors import load_bundle

    space = load_bundle(bundle)
    app = FastAPI()

    @app.get("/readyz")
    def readyz() -> dict[str, str]:
        return {"status": "ready"}

    @app.post("/embed")
    def embed(body: dict[str, list[dict[str, str]] | bool]) -> dict[str, list[dict[str, list[float]]]]:
        [(kind, value)] = body["items"][0].items()
        media = value if kind == "text" else base64.b64decode(value)
        return {"items": [{"vector": space.embed(kind, [media])[0].tolist()}]}

    listener = socket.create_server(("127.0.0.1", 0))
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", file=sys.stderr, flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="error")).run([listener])


def measure(bundle: str, quick: bool) -> list[dict[str, object]]:
    """Every row, in the project's format."""
    seconds, count, concurrencies = (0.8, 32, BATCHES) if quick else (10.0, 256, CONCURRENCIES)
    raw = raw_loop(bundle, count)
    requests = {kind: requests_of(kind, count) for kind in KINDS}
    loads: dict[tuple[str, str, int], Load] = {}
    with tempfile.TemporaryDirectory() as data:
        ours = ["-m", "service.cli", "serve", "--port", "0", "--bundle", bundle, "--data-dir", data]
        peers = {"isthmus": ours, "plain FastAPI": [__file__, "--plain", "--bundle", bundle]}
        for peer, arguments in peers.items():
            with server(arguments) as port:
                for kind in KINDS:
                    asyncio.run(closed_loop(port, requests[kind], 8, seconds / 2))
                    for concurrency in concurrencies:
                        load = asyncio.run(closed_loop(port, requests[kind], concurrency, seconds))
                        loads[peer, kind, concurrency] = load
    rows = []
    for kind, (decode, costs) in raw.items():
        encode = min(costs.values())
        rows.append(row(f"{kind}: decoding alone", decode, "ms"))
        for size, cost in costs.items():
            rows.append(row(f"{kind}: encoder alone in batches of {size}", 1000 / cost, "items/s"))
        best = max(load.rate for (peer, k, _), load in loads.items() if peer == "isthmus" and k == kind)
        share = best * (decode + encode) / 1000
        rows.append(row(f"{kind}: saturated, of decode + encoder", share, "", ">= 0.95", share >= 0.95))
        for concurrency in concurrencies:
            for peer in peers:
                load, name = loads[peer, kind, concurrency], f"{kind}, concurrency {concurrency}: {peer}"
                rows.append(row(name, load.rate, "items/s"))
                rows.append(row(f"{name}, p50", load.percentile(50), "ms"))
                rows.append(row(f"{name}, p99", load.percentile(99), "ms"))
    return rows


def row(
    name: str, value: float, unit: str, goal: str | None = None, holds: bool | None = None
) -> dict[str, object]:
    """One row; without a goal it holds nothing."""
    measured: dict[str, object] = {"name": name, "value": round(value, 3), "unit": unit}
    return measured if goal is None else {**measured, "goal": goal, "holds": bool(holds)}


def main() -> None:
    """Measure, print the table, and with --json the rows on the last line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", default="compact")
    parser.add_argument("--quick", action="store_true", help="under a minute on 2 cores")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--plain", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.plain:
        serve_plainly(options.bundle)
        return
    rows = measure(options.bundle, options.quick)
    table = Table("what", "value", "unit", "goal", "holds")
    for each in rows:
        holds = {True: "yes", False: "no"}.get(each.get("holds"), "")  # type: ignore[call-overload]
        table.add_row(
            str(each["name"]), f"{each['value']}", str(each["unit"]), str(each.get("goal", "")), holds
        )
    Console().print(table)
    if options.json:
        machine = {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()}
        print(json.dumps({"benchmark": "serving", "machine": machine, "rows": rows}))


if __name__ == "__main__":
    main()

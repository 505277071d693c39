"""The service over a real socket: its rate beside the raw loop's, its batches, and where the time goes.

The server is a process of its own (`server.py`: the service's app, without an index); this process makes the
load from files on disk. It is measured as it comes, with two copies of the encoders on the device, and with
larger batches.
"""

import asyncio
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks._rows import Row, at_least, at_most
from benchmarks.gpu_check import bundle, raw_loop
from benchmarks.gpu_check.findings import Note
from benchmarks.gpu_check.steps import Found, Scene, Step
from benchmarks.http_load.loops import Load, closed_loop
from benchmarks.http_load.media import KINDS, embed_body, http_requests
from benchmarks.http_load.servers import Running, running

ROOT = Path(__file__).resolve().parents[2]
SHARE = 0.95
LARGE_BATCH = 128
SAMPLE = re.compile(r"^(isthmus_\w+_(?:sum|count))\{(.*)\} ([\d.e+-]+)$")


@dataclass(frozen=True)
class Setting:
    """One way to start the service: what its rows are called, and what is set."""

    name: str
    environment: Mapping[str, str]
    whole: bool = False
    """True where latencies, bulk texts and the goal belong to it."""


def steps(device: str) -> list[Step]:
    """A step for each setting."""
    settings = (
        Setting("service", {"ISTHMUS_DEVICE": device}, whole=True),
        Setting("service, two copies", {"ISTHMUS_DEVICE": f"{device},{device}"}),
        Setting(
            f"service, batches of up to {LARGE_BATCH}",
            {"ISTHMUS_DEVICE": device, "ISTHMUS_MAX_BATCH": str(LARGE_BATCH)},
        ),
    )
    larger = settings[-1]
    return [
        Step(each.name, partial(serve, each), least=45, most=75, needs_gpu=each is larger)
        for each in settings
    ]


def serve(setting: Setting, scene: Scene) -> Found:
    """Start the server, load it with every kind in turn, and read what it counted."""
    sizes = scene.sizes
    where = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment = {
        "PYTHONPATH": os.pathsep.join(filter(None, where)),
        "ISTHMUS_DTYPE": "auto",
        "ISTHMUS_CACHE_ITEMS": "0",
        **setting.environment,
    }
    data = Path(bundle.SCRATCH.name) / "data"
    command = [sys.executable, "-m", "benchmarks.gpu_check.server", bundle.path(sizes), str(data)]
    with running(command, environment=environment) as server:
        for kind in KINDS if setting.whole or not sizes.small else ("image",):
            if scene.left() <= 0:
                yield Note(f"{setting.name}, {kind}", "not measured: the time is over")
                continue
            yield from _kind(setting, kind, server, scene)
        for kind, buckets in server.batch_sizes().items():
            told = ", ".join(f"{bound}: {count:,}" for bound, count in sorted(buckets.items()) if count)
            yield Note(f"{setting.name}, {kind}: batches of up to", told)


def _kind(setting: Setting, kind: str, server: Running, scene: Scene) -> Found:
    """One kind of media, one item a request, then what the rows of `whole` need."""
    sizes, name = scene.sizes, f"{setting.name}, {kind}{bundle.said(scene.sizes)}"
    contents = raw_loop.files(sizes, kind)
    requests = http_requests(kind, contents, 1, embed_body)
    load = partial(_load, server)
    if setting.whole:
        alone = load(requests, 1, sizes.load_seconds / 4)
        yield Row(f"{name}, a request alone: p50", alone.percentile(50), "ms")
    load(requests, sizes.concurrency, sizes.load_seconds / 4)
    before = _counted(server)
    found = load(requests, sizes.concurrency, sizes.load_seconds)
    after = _counted(server)
    yield Row(f"{name}, {sizes.concurrency} at once", found.rate, "items/s")
    yield Row(f"{name}, {sizes.concurrency} at once: p99", found.percentile(99), "ms")
    goal = setting.whole and scene.on_card
    yield _share(name, kind, found.rate, goal=goal)
    spent = {key: after[key] - before.get(key, 0.0) for key in after}
    yield _failed(name, spent)
    if not setting.whole:
        return
    yield from _where(name, spent, found.seconds)
    if kind == "text":
        bulk = http_requests(kind, contents, sizes.bulk, embed_body)
        rate = load(bulk, min(len(bulk), 32), sizes.load_seconds).rate * sizes.bulk
        yield Row(f"{name}, {sizes.bulk} a request", rate, "items/s")
        yield _share(f"{name}, {sizes.bulk} a request", kind, rate, goal=goal)


def _load(server: Running, requests: Sequence[bytes], concurrency: int, seconds: float) -> Load:
    return asyncio.run(closed_loop(server.port, requests, concurrency, seconds))


def _share(name: str, kind: str, rate: float, *, goal: bool) -> Row | Note:
    """The rate as a share of the raw loop's."""
    raw = raw_loop.measured.get(kind)
    if raw is None:
        return Note(f"{name}: of the raw loop", "the raw loop was not measured")
    told = f"{name}: of the raw loop ({'decoding' if raw.decoded < raw.encoded else 'encoder'})"
    return at_least(told, rate / raw.lesser, "", SHARE) if goal else Row(told, rate / raw.lesser)


def _counted(server: Running) -> dict[tuple[str, str], float]:
    """Sums and counts of the server's histograms, by name and labels."""
    found = {}
    for line in server.get("/metrics").text.splitlines():
        if said := SAMPLE.match(line):
            found[said[1], said[2]] = float(said[3])
    return found


def _where(name: str, spent: Mapping[tuple[str, str], float], seconds: float) -> Iterator[Row]:
    """Milliseconds of an item in each stage and of a batch, items a batch, and how busy batches were.

    The last is 2 where two streams always have a batch.
    """
    names = {"isthmus_item_seconds": "an item", "isthmus_batch_seconds": "a batch"}
    for histogram, what in names.items():
        for (metric, labels), total in sorted(spent.items()):
            count = spent.get((f"{histogram}_count", labels), 0)
            if metric == f"{histogram}_sum" and count:
                stage = re.search(r'stage="(\w+)"', labels)
                told = f"{what}, {stage[1]}" if stage else what
                yield Row(f"{name}: {told}", 1000 * total / count, "ms")
    batches = sum(v for (metric, _), v in spent.items() if metric == "isthmus_batch_items_count")
    items = sum(v for (metric, _), v in spent.items() if metric == "isthmus_batch_items_sum")
    if batches:
        yield Row(f"{name}: items a batch", items / batches, "items")
    batch_seconds = sum(v for (metric, _), v in spent.items() if metric == "isthmus_batch_seconds_sum")
    yield Row(f"{name}: seconds of batches a second", batch_seconds / seconds)


def _failed(name: str, spent: Mapping[tuple[str, str], float]) -> Row:
    failed = sum(
        count
        for (metric, labels), count in spent.items()
        if metric == "isthmus_request_seconds_count" and 'status="200"' not in labels
    )
    return at_most(f"{name}: requests that failed", failed, "requests", 0)

"""Ingest, search, recall, memory and reopening of each index that runs without a server, side by side.

    python benchmarks/index.py [--points N] [--keep DIR] [--stores edge,faiss ...] [--quick] [--json]

100,000 points of 512 numbers, or as many as `--points` says; 20,000 with `--quick`. With `--keep` the data
and the built stores stay in DIR, and the next call with it measures searches on them: build on a busy
machine, measure on an idle one; what was interrupted goes on with the step it was in. Each store is
measured in a process of its own. FAISS and hnswlib (extra `bench`) are the references: one thread, the same
graph, nothing durable.
"""

# ruff: noqa: E402
import sys
from pathlib import Path

# Started as a script, this file's folder comes first in the path and would hide the package it measures.
HERE = Path(__file__).resolve().parent
sys.path[:] = [str(HERE.parent), *(entry for entry in sys.path if Path(entry).resolve() != HERE)]

import json
import multiprocessing
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec

import numpy as np

from benchmarks._rows import machine, parser, print_json
from benchmarks.stores.isthmus import EdgeStore, LocalStore
from benchmarks.stores.mixture import FILTERS, TOP, Data, open_data
from benchmarks.stores.references import FaissStore, HnswlibStore
from benchmarks.stores.store import Store
from service.index.backend import VectorStorage

STORES: dict[str, Callable[[], Store]] = {
    "edge": EdgeStore,
    "local": LocalStore,
    "faiss": FaissStore,
    "hnswlib": HnswlibStore,
    "edge-float32": lambda: EdgeStore(VectorStorage(quantize=False)),
    "edge-on-disk": lambda: EdgeStore(VectorStorage(on_disk=True)),
}
DEFAULT = ("edge", "local", "faiss", "hnswlib")
LOCAL_POINTS = 100_000
"""Local mode looks at every point in every search: beyond this nobody would use it."""
LOCAL_QUERIES = 40
WARM_UP = 20
GOALS = {"p99": ("<=", 10.0), "recall@10": (">=", 0.98)}

Row = tuple[str, float | None, str]


def measure(name: str, folder: Path, count: int) -> Iterator[Row]:
    """What one store does with the data, built first where that was not done before."""
    store, data, home = STORES[name](), open_data(folder, count), folder / name
    for step in store.steps:
        took, load = build(store, step, home, data)
        if step == "ingest":
            yield "ingest", count / took, "points/s"
        else:
            yield f"{step}, in the background", took, "s"
        yield f"load of the machine in {step}", load, ""
    before, began = memory([os.getpid()]), time.perf_counter()
    store.open(home)
    store.search(data.queries[0], "query")
    yield "reopen and first answer", time.perf_counter() - began, "s"
    queries = data.queries[: LOCAL_QUERIES if name == "local" else None]
    for query in queries[:WARM_UP]:
        store.search(query, "query")
    for admitted in FILTERS if store.filters else ["query"]:
        times, recall = [], []
        for query, truth in zip(queries, data.truth[admitted], strict=False):
            began = time.perf_counter()
            found = store.search(query, admitted)
            times.append((time.perf_counter() - began) * 1e3)
            recall.append(len(found & set(truth.tolist())) / TOP)
        yield f"{admitted} p50", float(np.percentile(times, 50)), "ms"
        yield f"{admitted} p99", float(np.percentile(times, 99)), "ms"
        yield f"{admitted} recall@10", float(np.mean(recall)), ""
        yield f"{admitted} recall@10, of another modality", float(np.mean(recall[::2])), ""
    yield "memory (PSS of all its processes)", memory([os.getpid(), *store.pids()]) - before, "MB"
    store.close()
    size = sum(file.stat().st_blocks * 512 for file in home.rglob("*") if file.is_file())
    yield "on disk", size / 2**20, "MB"


def build(store: Store, step: str, home: Path, data: Data) -> tuple[float, float]:
    """Do one step of building a store, unless it was done before; gives seconds and the machine's load."""
    done = home.with_name(f"{home.name}.{step}.json")
    if not done.exists():
        if step == store.steps[0]:
            shutil.rmtree(home, ignore_errors=True)
            home.mkdir()
        began = time.perf_counter()
        if step == "ingest":
            store.ingest(home, data)
        else:
            store.optimise(home)
        done.write_text(json.dumps({"seconds": time.perf_counter() - began, "load": os.getloadavg()[0]}))
    kept = json.loads(done.read_text())
    return kept["seconds"], kept["load"]


def memory(pids: list[int]) -> float:
    """Proportional set size of some processes in MB: what they share counts once."""
    rollups = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in pids]
    return sum(int(text.split("\nPss:")[1].split()[0]) for text in rollups) / 1024


def unmeasured(name: str, count: int) -> str | None:
    """Why a store is not measured, or None."""
    if name in ("faiss", "hnswlib") and find_spec(name) is None:
        return f"not measured: {name} is not installed (extra `bench`)"
    if name == "local" and count > LOCAL_POINTS:
        return f"not measured: it scans every point, and beyond {LOCAL_POINTS:,} takes a second a search"
    return None


def send(name: str, folder: Path, count: int, queue: "multiprocessing.Queue[Row | None]") -> None:
    """`measure`, in a process of its own; None ends it."""
    try:
        for row in measure(name, folder, count):
            queue.put(row)
    finally:
        queue.put(None)


def rows_of(name: str, folder: Path, count: int) -> Iterator[Row]:
    """The rows that a process of its own measures."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=send, args=(name, folder, count, queue))
    process.start()
    while (row := queue.get()) is not None:
        yield row
    process.join()


def judged(store: str, row: Row) -> dict[str, object]:
    """A row as JSON has it, with its goal where it has one."""
    title, value, unit = row
    out: dict[str, object] = {"name": f"{store}: {title}", "value": value, "unit": unit}
    for figure, (sign, goal) in GOALS.items():
        if store == "edge" and title.endswith(figure) and value is not None:
            holds = value <= goal if sign == "<=" else value >= goal
            out |= {"goal": f"{sign} {goal:g}", "holds": holds}
    return out


def main() -> None:
    """Measure, and print a table."""
    arguments = parser(__doc__ or "", quick="20,000 points, without local mode")
    arguments.add_argument("--points", type=int, default=100_000)
    arguments.add_argument(
        "--keep", type=Path, metavar="DIR", help="keep data and stores here, use those there"
    )
    arguments.add_argument("--stores", default=",".join(DEFAULT), help=f"of {', '.join(STORES)}")
    options = arguments.parse_args()
    count = 20_000 if options.quick else options.points
    names = [each for each in options.stores.split(",") if not (options.quick and each == "local")]
    if unknown := set(names) - set(STORES):
        arguments.error(f"there is no store {unknown.pop()}")
    print(f"{count:,} points, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}", flush=True)
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        open_data(folder, count)
        for name in names:
            if reason := unmeasured(name, count):
                rows.append({"name": f"{name}: {reason}", "value": None, "unit": ""})
                print(rows[-1]["name"], flush=True)
                continue
            for measured in rows_of(name, folder, count):
                rows.append(row := judged(name, measured))
                value = f"{row['value']:14,.3f} {row['unit']:9}"
                print(f"{row['name']:60} {value} {row.get('goal', ''):8} {row.get('holds', '')}", flush=True)
            if options.keep is None:
                shutil.rmtree(folder / name)
    if options.json:
        print_json("index", rows, machine(points=count))


if __name__ == "__main__":
    main()

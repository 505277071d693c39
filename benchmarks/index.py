"""Ingest, search, recall, memory and reopening of each index that runs without a server, side by side.

`python benchmarks/index.py [--quick] [--json] [--points N]`: 100,000 points of 512 numbers, 5,000 with
`--quick`; hnswlib is the reference where it is installed. Vectors are a mixture of low-dimensional
clusters, as embeddings are.
"""

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from service.index.edge_engine import EdgeEngine
from service.index.opening import open_index
from service.index.protocol import Layout, Point
from service.index.shard_optimizer import OptimizerSettings
from service.index.vector_index import VectorIndex

DIM, QUERIES, TOP = 512, 200, 10
LAYOUT = Layout(DIM, {"clip": DIM}, "benchmark")
HALF = {"must": [{"key": "metadata.half", "match": {"value": 1}}]}
LOCAL_POINTS = 10_000
"""Local mode writes some hundred points a second: it is measured up to here."""


def make_vectors(count: int) -> np.ndarray:
    """Unit vectors in 200 clusters of about 48 dimensions, the queries last."""
    rng = np.random.default_rng(0)
    centres, basis = rng.standard_normal((200, DIM)) * 0.7, rng.standard_normal((48, DIM)) / 7
    vectors = np.empty((count, DIM), np.float32)
    for start in range(0, count, 10_000):
        size = min(10_000, count - start)
        part = rng.standard_normal((size, 48)) @ basis + 0.15 * rng.standard_normal((size, DIM))
        part += centres[rng.integers(0, 200, size)]
        vectors[start : start + size] = part / np.linalg.norm(part, axis=1, keepdims=True)
    return vectors


def best(vectors: np.ndarray, query: np.ndarray, step: int) -> set[int]:
    """The nearest of every `step`-th vector, by scanning."""
    cosines = vectors[step - 1 :: step] @ query
    return {int(i) * step + step - 1 for i in np.argpartition(-cosines, TOP)[:TOP]}


def timed(
    ask: Callable[[np.ndarray], set[int]], queries: np.ndarray, truth: list[set[int]]
) -> tuple[float, ...]:
    """Median and 99th percentile in ms, and recall of the first ten."""
    took, recall = [], []
    for query, expected in zip(queries, truth, strict=True):
        began = time.perf_counter()
        found = ask(query)
        took.append((time.perf_counter() - began) * 1e3)
        recall.append(len(found & expected) / TOP)
    return float(np.percentile(took, 50)), float(np.percentile(took, 99)), float(np.mean(recall))


def resident_mb(index: VectorIndex) -> float:
    """Memory of the processes that hold the vectors; 0 where that is this one."""
    pids = [shard.pid for shard in getattr(index.engine, "_opened", list)()]
    lines = [Path(f"/proc/{pid}/status").read_text() for pid in pids if Path(f"/proc/{pid}").exists()]
    return sum(int(text.split("VmRSS:")[1].split()[0]) for text in lines) / 1024


def measure(name: str, vectors: np.ndarray, queries: np.ndarray) -> Iterator[tuple[str, float, str]]:
    """What one back end does with the vectors."""
    count = len(vectors)
    with tempfile.TemporaryDirectory() as folder:

        def opened() -> VectorIndex:
            if name == "local":
                return open_index(LAYOUT, data_dir=Path(folder), back_end="local")
            return VectorIndex(EdgeEngine(Path(folder), optimizer=OptimizerSettings(after=10**9)), LAYOUT)

        with opened() as index:
            index.declare_field("b", "metadata.half", "integer")
            began = time.perf_counter()
            for start in range(0, count, 1024):
                batch = range(start, min(count, start + 1024))
                index.upsert("b", [point(i, vectors[i]) for i in batch])
            yield "ingest", count / (time.perf_counter() - began), "points/s"
            if isinstance(index.engine, EdgeEngine):
                began = time.perf_counter()
                index.engine.optimize(index.engine.current()["b"].name)
                yield "optimise, in the background", time.perf_counter() - began, "s"
            for title, step, where in (("query", 1, None), ("filtered query", 2, HALF)):
                truth = [best(vectors, query, step) for query in queries]

                def ask(query: np.ndarray, where: dict | None = where) -> set[int]:
                    return {int(hit.point.id) for hit in index.search("b", query, TOP, where=where)}

                median, slowest, recall = timed(ask, queries, truth)
                yield f"{title} p50", median, "ms"
                yield f"{title} p99", slowest, "ms"
                yield f"{title} recall@10", recall, ""
            yield "memory of its processes", resident_mb(index), "MB"
        began = time.perf_counter()
        with opened() as index:
            index.search("b", queries[0], 1)
            yield "reopen and first answer", time.perf_counter() - began, "s"


def measure_hnswlib(vectors: np.ndarray, queries: np.ndarray) -> Iterator[tuple[str, float, str]]:
    """The reference: a bare graph in this process, nothing kept, nothing filtered."""
    import hnswlib

    graph = hnswlib.Index(space="cosine", dim=DIM)
    graph.init_index(max_elements=len(vectors), M=16, ef_construction=128)
    began = time.perf_counter()
    graph.add_items(vectors)
    yield "ingest", len(vectors) / (time.perf_counter() - began), "points/s"
    graph.set_ef(128)
    truth = [best(vectors, query, 1) for query in queries]
    median, slowest, recall = timed(lambda q: set(map(int, graph.knn_query(q, TOP)[0][0])), queries, truth)
    yield from (("query p50", median, "ms"), ("query p99", slowest, "ms"), ("query recall@10", recall, ""))


def point(number: int, vector: np.ndarray) -> Point:
    """One point, in the filtered half where its number is odd."""
    return Point(str(number), "image", "clip", vector, vector, {"metadata": {"half": number % 2}})


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="5,000 points")
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    parser.add_argument("--points", type=int, default=100_000)
    options = parser.parse_args()
    count = 5_000 if options.quick else options.points
    everything = make_vectors(count + QUERIES)
    vectors, queries = everything[:count], everything[count:]
    goals = {"query p99": 10.0, "filtered query p99": 10.0}
    measured = {"edge": measure("edge", vectors, queries)}
    if count <= LOCAL_POINTS and not options.quick:
        measured["local"] = measure("local", vectors, queries)
    if find_spec("hnswlib"):
        measured["hnswlib"] = measure_hnswlib(vectors, queries)
    rows = []
    print(f"{count} points of {DIM}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    for back_end, results in measured.items():
        for title, value, unit in results:
            row = {"name": f"{back_end}: {title}", "value": round(value, 4), "unit": unit}
            if back_end == "edge" and title in goals:
                row |= {"goal": f"<= {goals[title]:g}", "holds": value <= goals[title]}
            if back_end == "edge" and title.endswith("recall@10"):
                row |= {"goal": ">= 0.98", "holds": value >= 0.98}
            rows.append(row)
            print(f"{row['name']:45} {value:12.3f} {unit:9} {row.get('goal', ''):8} {row.get('holds', '')}")
    if options.json:
        machine = {"cores": os.cpu_count(), "platform": platform.platform(), "load": os.getloadavg()[0]}
        print(json.dumps({"benchmark": "index", "machine": machine, "points": count, "rows": rows}))


if __name__ == "__main__":
    main()

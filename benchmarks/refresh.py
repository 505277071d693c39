"""What switching connectors costs a service: points a second, and what searches feel of it.

    python benchmarks/refresh.py [--points 100000] [--quick] [--json]

The server is `isthmus serve` with the compact bundle in a process of its own, over points of every modality.
A second connector, the bundle's with a little noise on its weights, is published and activated while texts
are searched for in a closed loop; then it is rolled back. Latencies are those of the same loop before,
during and after, in one run.
"""

# ruff: noqa: E402
import sys
from pathlib import Path

# Started as a script, this file's folder comes first in the path and would hide the package it measures.
HERE = Path(__file__).resolve().parent
sys.path[:] = [str(HERE.parent), *(entry for entry in sys.path if Path(entry).resolve() != HERE)]

import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import numpy as np
import torch

from benchmarks._rows import Row, at_most, machine, parser, publish
from connectors.bundle import bundle_directory, load_bundle, read_manifest
from connectors.connector import load_connector
from connectors.space import UnifiedSpace
from service.engine.embedding import project
from service.index.edge.edge_backend import EdgeBackend
from service.index.protocol import Point
from service.index.vector_index import VectorIndex
from service.releases.startup import layout_of

BUNDLE = "compact"
CLIENTS = 2
START_SECONDS = 300
WORDS = ["dog", "cat", "car", "rain", "bell", "train", "bird", "door", "ship", "storm", "chair", "lamp"]


def fill(space: UnifiedSpace, folder: Path, count: int) -> None:
    """An index of random native vectors of every modality, as their connector projects them."""
    rng = np.random.default_rng(0)
    with VectorIndex(EdgeBackend(folder / "index"), layout_of(space)) as index:
        for start in range(0, count, 1024):
            points = []
            for modality in space.modalities:
                dim = space.encoder_of(modality).dim
                native = rng.standard_normal((min(1024, count - start) // 4, dim)).astype(np.float32)
                native /= np.linalg.norm(native, axis=1, keepdims=True)
                for i, unified in enumerate(project(space, modality, native)):
                    name = f"{modality}/{start + i}"
                    payload = {"metadata": {"number": i}, "connector": space.connector_version}
                    points.append(
                        Point(name, modality, space.space_of(modality), unified, native[i], payload)
                    )
            index.upsert("default", points, space.connector_version)
        index.backend.finish_indexing(index.backend.current()["default"].name)


def noisy(directory: Path, target: Path) -> Path:
    """A copy of a connector with noise on its weights."""
    connector = load_connector(directory)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in connector.parameters():
            parameter += 0.01 * parameter.abs().mean() * torch.randn_like(parameter)
    connector.manifest.weights_sha256 = ""
    return connector.save(target)


@contextmanager
def serving(folder: Path) -> Iterator[httpx.Client]:
    """A real server over a data directory, and a client for it."""
    command = [sys.executable, "-m", "service.cli", "serve", "--port", "0", "--bundle", BUNDLE]
    log = folder / "log"
    with log.open("w") as output:
        process = subprocess.Popen([*command, "--data-dir", str(folder)], stderr=output)
    try:
        deadline = time.monotonic() + START_SECONDS
        while "listening on " not in log.read_text():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server did not start: {log.read_text()}")
            time.sleep(0.1)
        url = log.read_text().split("listening on ")[1].split()[0]
        with httpx.Client(base_url=url, timeout=START_SECONDS) as client:
            while client.get("/readyz").status_code != 200:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"the server is not ready: {log.read_text()}")
                time.sleep(0.1)
            yield client
    finally:
        process.terminate()
        process.wait()


class Searchers:
    """Clients that search in a closed loop, from `with` to its end; `took` are milliseconds."""

    def __init__(self, url: str) -> None:
        self.took: list[float] = []
        self.failed = 0
        self._url = url
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._search, args=(each,)) for each in range(CLIENTS)]

    def __enter__(self) -> "Searchers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def percentile(self, q: float) -> float:
        """A percentile of the latencies, in ms."""
        return float(np.percentile(self.took, q))

    def _search(self, seed: int) -> None:
        choose = np.random.default_rng(seed)
        with httpx.Client(base_url=self._url, timeout=START_SECONDS) as client:
            while not self._stop.is_set():
                text = " ".join(choose.choice(WORDS, 3))
                began = time.perf_counter()
                reply = client.post("/search", json={"query": [{"text": text}], "limit": 10})
                self.took.append((time.perf_counter() - began) * 1e3)
                self.failed += not (reply.status_code == 200 and len(reply.json()["hits"]) == 10)


def activate(client: httpx.Client, version: str) -> dict[str, float]:
    """Switch and wait; gives the job's result."""
    job = client.post(f"/connectors/{version}/activate").raise_for_status().json()
    while job["state"] not in ("done", "failed", "cancelled"):
        time.sleep(0.1)
        job = client.get(f"/jobs/{job['id']}").json()
    if job["state"] != "done":
        raise RuntimeError(f"{version} was not activated: {job}")
    result: dict[str, float] = job["result"]
    return result


def publish_noisy(client: httpx.Client, folder: Path) -> str:
    """The bundle's connectors with noise, as one release."""
    bundle = bundle_directory(BUNDLE)
    manifest = read_manifest(bundle)
    onto = None
    for number, path in enumerate(manifest.connectors[manifest.default]):
        made = noisy(bundle / path, folder / f"noisy-{number}")
        files = [("files", (file.name, file.read_bytes())) for file in made.iterdir()]
        reply = client.post("/connectors", files=files, params={"onto": onto} if onto else {})
        onto = reply.raise_for_status().json()["version"]
    assert onto is not None
    return onto


def measure(count: int, seconds: float) -> Iterator[Row]:
    """The rows of the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fill(load_bundle(BUNDLE), folder, count)
        with serving(folder) as client:
            url = str(client.base_url)
            first, second = client.get("/connectors").json()["active"], publish_noisy(client, folder)
            with Searchers(url):  # warms up what is there to warm up
                time.sleep(seconds / 2)
            with Searchers(url) as before:
                time.sleep(seconds)
            with Searchers(url) as during:
                done = activate(client, second)
            with Searchers(url) as after:
                time.sleep(seconds)
            with Searchers(url) as back:
                returned = activate(client, first)
    yield Row("points", done["points"])
    yield Row("of these projected", done["projected"])
    yield Row("refreshed", done["points"] / done["seconds"], "points/s")
    yield Row("rolled back, nothing written since", returned["seconds"], "s")
    for title, loop in (("before", before), ("during", during), ("after", after)):
        yield Row(f"searches {title}", len(loop.took))
        yield Row(f"search p50 {title}", loop.percentile(50), "ms")
        yield Row(f"search p99 {title}", loop.percentile(99), "ms")
    ratio = during.percentile(99) / before.percentile(99)
    yield at_most("search p99, during / before", ratio, "x", 2)
    failed = before.failed + during.failed + after.failed + back.failed
    yield at_most("failed searches", failed, "", 0)


def main() -> None:
    """Measure, print the table, and with --json one object on the last line."""
    options_of = parser(__doc__, quick="4,000 points")
    options_of.add_argument("--points", type=int, default=100_000)
    options = options_of.parse_args()
    about = machine(searching_clients=CLIENTS)
    rows = list(measure(4_000 if options.quick else options.points, 4 if options.quick else 15))
    publish("refresh", rows, as_json=options.json, about=about)


if __name__ == "__main__":
    main()

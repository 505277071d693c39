"""What an ingest job does a second, what searches wait while it runs, and what ingesting again costs.

    python benchmarks/ingest.py [--bundle compact] [--quick] [--json]

The server is `isthmus serve` in a process of its own over a folder of made-up files; this process makes one
search after the other, without the job, while it runs, and while the same folder is ingested again.
"""

# ruff: noqa: E402
import sys
from pathlib import Path

# Started as a script, this file's folder comes first in the path and would hide the packages.
HERE = Path(__file__).resolve().parent
sys.path[:] = [str(HERE.parent), *(entry for entry in sys.path if Path(entry).resolve() != HERE)]

import io
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import numpy as np
import soundfile
from PIL import Image

from benchmarks._rows import Row, at_most, parser, publish

START_SECONDS = 300.0
QUERY = {"query": [{"text": "a dog that barks at the postman"}]}


def make_folder(folder: Path, pictures: int, sounds: int, texts: int) -> None:
    """Files no two of which are alike: 640 x 480 JPEGs, 5 s of Ogg, short texts."""
    random = np.random.default_rng(0)
    for number in range(pictures):
        pixels = random.integers(0, 255, (15, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((640, 480), Image.Resampling.BICUBIC).save(folder / f"{number}.jpg")
    for number in range(sounds):
        buffer = io.BytesIO()
        soundfile.write(buffer, random.normal(0, 0.1, 5 * 24_000), 24_000, format="OGG")
        (folder / f"{number}.ogg").write_bytes(buffer.getvalue())
    for number in range(texts):
        (folder / f"{number}.txt").write_text(f"picture number {number} of a dog")


@contextmanager
def serving(bundle: str, folder: Path) -> Iterator[httpx.Client]:
    """A server that may read `folder`, and a client for it."""
    with tempfile.TemporaryFile("w+") as log, tempfile.TemporaryDirectory() as data:
        arguments = ["-m", "service.cli", "serve", "--port", "0", "--bundle", bundle, "--data-dir", data]
        environment = {**os.environ, "ISTHMUS_INGEST_ROOTS": str(folder)}
        process = subprocess.Popen([sys.executable, *arguments], stderr=log, env=environment)
        try:
            with httpx.Client(base_url=_url(process, log.fileno()), timeout=60) as client:
                yield client
        finally:
            process.terminate()
            process.wait()


def _url(process: "subprocess.Popen[bytes]", log: int) -> str:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        said = re.search(rb"http://127\.0\.0\.1:\d+", os.pread(log, 65536, 0))
        if said and b"ready after" in os.pread(log, 65536, 0):
            return said[0].decode()
        time.sleep(0.1)
    raise RuntimeError(f"the server did not start: {os.pread(log, 65536, 0).decode()}")


def search_until(client: httpx.Client, over: Callable[[], bool]) -> tuple[list[float], int]:
    """Search, one search after the other; milliseconds of those answered, and how many were not."""
    latencies: list[float] = []
    failed = 0
    while not over():
        sent = time.perf_counter()
        if client.post("/search", json=QUERY).is_success:
            latencies.append((time.perf_counter() - sent) * 1000)
        else:
            failed += 1
    return latencies, failed


def measure(bundle: str, quick: bool) -> list[Row]:
    """Every row."""
    pictures, sounds, texts, seconds = (150, 50, 300, 3.0) if quick else (3000, 1000, 6000, 20.0)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        make_folder(Path(name), pictures, sounds, texts)
        with serving(bundle, Path(name)) as client:
            client.post("/embed", json={"items": [{"text": "a dog"}]}).raise_for_status()
            until = time.perf_counter() + seconds
            alone, failed = search_until(client, lambda: time.perf_counter() > until)
            rows += waited("without a job", alone)
            for turn in ("ingesting", "ingesting again"):
                began = time.perf_counter()
                job = client.post("/jobs/ingest", json={"folder": "."}).raise_for_status().json()

                def ended(path: str = f"/jobs/{job['id']}") -> bool:
                    return client.get(path).json()["state"] in ("done", "failed")

                latencies, refused = search_until(client, ended)
                took = time.perf_counter() - began
                failed += refused
                result = client.get(f"/jobs/{job['id']}").json()["result"]
                rows.append(Row(turn, (pictures + sounds + texts) / took, "items/s"))
                rows.append(Row(f"{turn}: found to be there already", result["unchanged"], "items"))
                rows += waited(turn, latencies)
            rows.append(at_most("searches that failed", failed, "", 0))
    return rows


def waited(when: str, latencies: list[float]) -> list[Row]:
    """What searches took."""
    shown = latencies or [float("nan")]
    return [Row(f"a search {when}, p{q}", float(np.percentile(shown, q)), "ms", None, None) for q in (50, 99)]


def main() -> None:
    """Measure and print."""
    made = parser(__doc__, quick="500 items, under a minute on 2 cores")
    made.add_argument("--bundle", default="compact")
    options = made.parse_args()
    publish("ingest", measure(options.bundle, options.quick), as_json=options.json)


if __name__ == "__main__":
    main()

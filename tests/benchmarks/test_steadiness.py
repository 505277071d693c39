"""The overload and the soak of the serving benchmark, in seconds, against a real server that is small."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.http_load import media, steadiness
from benchmarks.http_load.servers import Running, running

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "tests/service"))  # tiny_encoders, where this file is run alone

import tiny_encoders  # noqa: E402


@pytest.fixture(scope="module")
def small_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server whose encoders take 10 ms an item and whose queue is short."""
    bundle = tiny_encoders.write_bundle(tmp_path_factory.mktemp("bundle"))
    data = tmp_path_factory.mktemp("data")
    serve = ["serve", "--port", "0", "--bundle", str(bundle), "--data-dir", str(data)]
    environment = {
        "PYTHONPATH": f"{ROOT}:{ROOT / 'tests/service'}",
        "ISTHMUS_QUEUE_ITEMS": str(steadiness.QUEUE_ITEMS),
        "ISTHMUS_CACHE_ITEMS": "100",
        "TINY_ROW_SECONDS": "0.01",
    }
    with running([sys.executable, "-m", "tiny_encoders", *serve], environment=environment) as server:
        yield server


def values(rows: list[object]) -> dict[str, float]:
    return {row.name.partition(": ")[2]: row.value for row in rows}


def test_under_overload_the_rest_is_refused_and_memory_stays(small_server: Running) -> None:
    found = values(steadiness.overload(small_server, "text", 2.0))
    assert found["refused with 429"] > 0.1
    assert found["answered with neither 200 nor 429"] == 0
    assert found["p99 of those accepted"] > 0
    assert found["memory grown"] < 20
    assert {"saturated", "ready again after", "saturated again"} <= set(found)


def test_a_soak_sends_every_kind_and_reads_the_memory(small_server: Running) -> None:
    said: list[str] = []
    found = values(steadiness.soak(small_server, 400, said.append))
    assert (found["requests"], found["failed"]) == (400, 0)
    assert found["memory grown after warm-up"] < 20
    assert len(said) == 10
    sizes = small_server.batch_sizes()
    assert set(sizes) == set(media.KINDS)
    assert sum(sizes["audio"].values()) >= 1


def test_the_batch_histogram_counts_each_batch_once(small_server: Running) -> None:
    counted = sum(sum(sizes.values()) for sizes in small_server.batch_sizes().values())
    lines = small_server.get("/metrics").text.splitlines()
    total = sum(float(line.split()[-1]) for line in lines if line.startswith("isthmus_batch_items_count"))
    assert counted == total

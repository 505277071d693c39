"""What is special to shards in processes of their own: they die, they are killed, they are optimised."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from service.errors import IndexUnavailable
from service.index.edge_engine import EdgeEngine
from service.index.edge_worker import own
from service.index.protocol import Layout, Point
from service.index.shard_optimizer import OptimizerSettings
from service.index.shard_process import GraphSettings
from service.index.vector_index import VectorIndex

from .writer import open_writers_index, vector_of

LAYOUT = Layout(dim=64, natives={"clip": 8}, connector="exmcr-1")
NEVER = OptimizerSettings(after=10**9)
SMALL = GraphSettings(scan_below_kb=100)


def many(count: int, start: int = 0, dim: int = 64) -> list[Point]:
    rng = np.random.default_rng(start)
    vectors = rng.standard_normal((count, dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    native = np.eye(8, dtype=np.float32)[0]
    return [
        Point(f"p{start + i}", "text", "clip", vectors[i], native, {"metadata": {"n": start + i}})
        for i in range(count)
    ]


def child_of(index: VectorIndex, collection: str = "birds") -> int:
    name = index.engine.current()[collection].name
    pid = index.engine._shard(name).pid
    assert pid is not None
    return pid


def test_a_killed_child_is_started_anew_and_nothing_is_lost(tmp_path: Path) -> None:
    with VectorIndex(EdgeEngine(tmp_path, optimizer=NEVER, graph=SMALL), LAYOUT) as index:
        for round_ in range(2):
            index.upsert("birds", many(20, start=20 * round_))
            os.kill(child_of(index), signal.SIGKILL)
            assert index.count("birds") == 20 * (round_ + 1)
        index.delete("birds", ["p0"])
        os.kill(child_of(index), signal.SIGKILL)
        assert index.get("birds", ["p0"]) == []
        assert index.healthy()


def test_a_child_killed_under_load_fails_no_call(tmp_path: Path) -> None:
    points = many(200)
    acknowledged, failures = 0, []
    with VectorIndex(EdgeEngine(tmp_path, optimizer=NEVER, graph=SMALL), LAYOUT) as index:

        def write() -> None:
            nonlocal acknowledged
            try:
                for point in points:
                    index.upsert("birds", [point])
                    acknowledged += 1
            except Exception as error:
                failures.append(error)

        writer = threading.Thread(target=write)
        writer.start()
        for enough in (20, 60, 130):
            while acknowledged < enough and not failures:
                time.sleep(0.005)
            os.kill(child_of(index), signal.SIGKILL)
        writer.join()
        assert failures == []
        assert index.count("birds") == 200


def test_a_shard_has_one_owner_until_its_process_has_ended(tmp_path: Path) -> None:
    with VectorIndex(EdgeEngine(tmp_path, optimizer=NEVER), LAYOUT) as index:
        index.upsert("birds", many(3))
        [folder] = (tmp_path / "shards").iterdir()
        with pytest.raises(TimeoutError, match=folder.name):
            own(folder, seconds=0.0)
    os.close(own(folder, seconds=0.0))


def test_a_stuck_child_is_ended_and_the_caller_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with VectorIndex(EdgeEngine(tmp_path, optimizer=NEVER, graph=SMALL), LAYOUT) as index:
        index.upsert("birds", many(3))
        shard = index.engine._shard(index.engine.current()["birds"].name)
        os.kill(child_of(index), signal.SIGSTOP)
        with pytest.raises(IndexUnavailable, match="did not answer"):
            shard._process.call({"ask": "ping"}, seconds=0.2)
        assert index.count("birds") == 3


def test_optimising_leaves_reads_and_writes_going_and_loses_none(tmp_path: Path) -> None:
    points = many(2_500)
    with VectorIndex(EdgeEngine(tmp_path, optimizer=NEVER, graph=SMALL), LAYOUT) as index:
        index.upsert("birds", points)
        name = index.engine.current()["birds"].name
        former = child_of(index)
        assert index.stats("birds").indexed == 0
        optimising = threading.Thread(target=index.engine.optimize, args=(name,))
        optimising.start()
        written = 0
        while optimising.is_alive() and written < 400:
            index.upsert("birds", many(5, start=20_000 + written))
            index.delete("birds", [f"p{written}"])
            index.set_payload("birds", f"p{1500 + written}", {"name": "patched"})
            assert len(index.search("birds", points[1500].unified, limit=3)) == 3
            written += 5
        optimising.join()
        assert written > 0
        assert child_of(index) != former
        assert index.engine._shard(name).unindexed() > 0, "what was written meanwhile is still to be indexed"
        assert index.stats("birds").indexed >= 2_000
        assert not index.stats("birds").optimizing
        assert index.count("birds") == 2_500 + written - written // 5
        assert index.get("birds", [f"p{1500 + written - 5}"])[0].payload["name"] == "patched"
        assert index.get("birds", [f"p{n}" for n in range(0, written, 5)]) == []
        assert len(list((tmp_path / "shards").iterdir())) == 1
        found = [index.search("birds", each.unified, limit=1)[0].point.id for each in points[1000:1100]]
        assert found == [each.id for each in points[1000:1100]]


def test_a_shard_with_enough_new_points_is_optimised_by_itself(tmp_path: Path) -> None:
    settings = OptimizerSettings(after=1500, idle_seconds=0.2, tick_seconds=0.1)
    with VectorIndex(EdgeEngine(tmp_path, optimizer=settings, graph=SMALL), LAYOUT) as index:
        index.upsert("birds", many(2_000))
        deadline = time.monotonic() + 120
        while index.stats("birds").indexed == 0 and time.monotonic() < deadline:
            time.sleep(0.2)
        assert index.stats("birds").indexed > 1500
        assert index.count("birds") == 2_000


def test_closing_while_optimising_gives_up_at_once(tmp_path: Path) -> None:
    index = VectorIndex(EdgeEngine(tmp_path, optimizer=NEVER, graph=SMALL), LAYOUT)
    index.upsert("birds", many(2_500))
    failures: list[Exception] = []

    def optimise() -> None:
        try:
            index.engine.optimize(index.engine.current()["birds"].name)
        except IndexUnavailable as error:
            failures.append(error)

    thread = threading.Thread(target=optimise)
    thread.start()
    while index.engine._optimizer._building is None:
        time.sleep(0.01)
    index.close()
    thread.join(120)
    assert not thread.is_alive()
    assert len(failures) == 1
    with VectorIndex(EdgeEngine(tmp_path), LAYOUT) as again:
        assert again.count("birds") == 2_500
        assert len(list((tmp_path / "shards").iterdir())) == 1


def test_half_made_shards_are_removed_at_the_next_start(tmp_path: Path) -> None:
    with VectorIndex(EdgeEngine(tmp_path), LAYOUT) as index:
        index.upsert("birds", many(3))
    (tmp_path / "shards" / "half").mkdir()
    with VectorIndex(EdgeEngine(tmp_path), LAYOUT) as index:
        assert index.count("birds") == 3
        assert len(list((tmp_path / "shards").iterdir())) == 1


def kill_while_writing(folder: Path, seed: int, lines: int, there: set[str], unsure: set[str]) -> None:
    """Let a writer say so many lines, kill it, and note what it said until then."""
    command = [sys.executable, str(Path(__file__).with_name("writer.py")), str(folder), str(seed)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert writer.stdout is not None
    assert writer.stdout.readline() == "ready\n"
    for number, line in enumerate(writer.stdout):
        if number == lines:
            os.kill(writer.pid, signal.SIGKILL)
        if not line.endswith("\n"):
            break
        ids = set(line[1:].split())
        if line[0] == "?":
            unsure |= ids
            continue
        unsure -= ids
        there.update(ids) if line[0] == "+" else there.difference_update(ids)
    writer.wait()
    writer.stdout.close()


def check_everything_acknowledged(folder: Path, there: set[str], unsure: set[str]) -> None:
    with open_writers_index(folder) as index:
        points, cursor = index.scroll("birds", 10_000, with_vectors=True)
        ids = [point.id for point in points]
        assert cursor is None
        assert len(ids) == len(set(ids)), "a point is there twice"
        assert there - unsure <= set(ids), "an acknowledged point is lost"
        assert set(ids) <= there | unsure, "a deleted point is back"
        for point in points:
            np.testing.assert_allclose(point.unified, vector_of(point.id), atol=1e-6)
        # What was under way when the kill came is there or not; from now on we know.
        there.clear()
        there.update(ids)
        unsure.clear()


def kill_rounds(folder: Path, rounds: int) -> None:
    choose = random.Random(5)
    there: set[str] = set()
    unsure: set[str] = set()
    for seed in range(rounds):
        kill_while_writing(folder, seed, choose.randint(1, 150), there, unsure)
        check_everything_acknowledged(folder, there, unsure)
    assert len(there) > rounds


def test_a_killed_service_keeps_what_it_acknowledged(tmp_path: Path) -> None:
    kill_rounds(tmp_path, 2)


@pytest.mark.slow
def test_a_service_killed_many_times_keeps_what_it_acknowledged(tmp_path: Path) -> None:
    kill_rounds(tmp_path, 40)

"""A service that is killed, or loses one of its processes, keeps what it acknowledged: every write is there,
none twice, none that was deleted.

`writer.py` writes and says so in a file; it, or a child of it, is killed at a random moment of its writing or
of an optimisation, and what is then in the folder is compared with what it said.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from waiting import at_a_random_moment, until

from service.index.protocol import StoredPoint
from service.index.vector_index import VectorIndex

from .writer import open_writers_index, vector_of


class Writer:
    """A writer's process and what it has said so far."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self._said = folder.parent / f"said-{seed}"
        command = [sys.executable, str(Path(__file__).with_name("writer.py")), str(folder), str(seed)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        with self._said.open("w") as said:
            self.process = subprocess.Popen(command, stdout=said, env=environment)

    def lines(self) -> list[str]:
        return [line for line in self._said.read_text().splitlines(keepends=True) if line.endswith("\n")]

    def wait(self, condition: Callable[[], bool]) -> None:
        until(condition, every=0.003, failed=self.has_ended, tell=lambda: "the writer ended by itself")

    def has_ended(self) -> bool:
        return self.process.poll() is not None

    def wait_lines(self, more: int) -> None:
        enough = len(self.lines()) + more
        self.wait(lambda: len(self.lines()) >= enough)

    def optimising(self) -> bool:
        """Whether there is a copy of the shard beside it."""
        return len(list((self.folder / "shards").glob("*"))) > 1

    def children(self) -> list[int]:
        threads = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        return [int(pid) for thread in threads for pid in thread.read_text().split()]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def everything(index: VectorIndex) -> list[StoredPoint]:
    points, cursor = index.scroll("birds", 10_000, with_vectors=True)
    while cursor is not None:
        page, cursor = index.scroll("birds", 10_000, cursor=cursor, with_vectors=True)
        points += page
    return points


class Ledger:
    """What must be in the index, and what may be: the writes that were under way when the kill came."""

    def __init__(self) -> None:
        self.there: set[str] = set()
        self.unsure: set[str] = set()

    def enter(self, lines: list[str]) -> None:
        for line in lines[1:]:
            ids = set(line[1:].split())
            if line[0] == "?":
                self.unsure |= ids
                continue
            self.unsure -= ids
            self.there = self.there | ids if line[0] == "+" else self.there - ids

    def check(self, folder: Path) -> None:
        """Compare with the index, and go on from what is in it."""
        with open_writers_index(folder) as index:
            points = everything(index)
            ids = [point.id for point in points]
            assert len(ids) == len(set(ids)), "a point is there twice"
            assert self.there - self.unsure <= set(ids), "an acknowledged point is lost"
            assert set(ids) <= self.there | self.unsure, "a deleted point is back"
            for point in points:
                np.testing.assert_allclose(point.unified, vector_of(point.id), atol=1e-6)
            for point in points[:: max(1, len(points) // 20)]:
                [best] = index.search("birds", vector_of(point.id), 1, exact=True)
                assert best.cosine == pytest.approx(1, abs=1e-4), "a point is there and not searched"
            assert index.count("birds") == len(ids)
            assert len(list((folder / "shards").iterdir())) == 1, "a half-made copy is left"
        self.there, self.unsure = set(ids), set()

    def check_graph(self, folder: Path) -> None:
        """Optimised undisturbed, the graph, of which most may have been deleted, reaches every point."""
        with open_writers_index(folder) as index:
            index.backend.optimize(index.backend.current()["birds"].name)
            assert index.stats("birds").indexed > 0.8 * len(self.there)
            found = {each: index.search("birds", vector_of(each), 1)[0].point.id for each in self.there}
            missed = [each for each, nearest in found.items() if each != nearest]
            assert not missed, f"{len(missed)} of {len(found)} points are out of the graph's reach"


@contextmanager
def writing(folder: Path, seed: int, ledger: Ledger) -> Iterator[Writer]:
    """A writer that is killed where this is left; the index is then checked."""
    writer = Writer(folder, seed)
    try:
        writer.wait(lambda: bool(writer.lines()))
        yield writer
    finally:
        writer.kill()
    ledger.enter(writer.lines())
    ledger.check(folder)


def kill_while_writing(folder: Path, rounds: int) -> None:
    choose, ledger = random.Random(5), Ledger()
    for seed in range(rounds):
        with writing(folder, seed, ledger) as writer:
            writer.wait_lines(choose.randint(1, 150))
    assert len(ledger.there) > rounds


def kill_while_optimising(folder: Path, rounds: int) -> None:
    """One optimisation is watched to learn how long one takes; the others are killed at a random point."""
    choose, ledger, seconds = random.Random(6), Ledger(), 0.0
    for seed in range(rounds + 1):
        with writing(folder, seed, ledger) as writer:
            writer.wait(writer.optimising)
            began = time.monotonic()
            if seed == 0:
                writer.wait(lambda writer=writer: not writer.optimising())
                seconds = time.monotonic() - began
                continue
            at_a_random_moment(choose, 0, seconds)
            if seed % 2 == 0:  # one of the processes only: the service goes on
                os.kill(choose.choice(writer.children()), signal.SIGKILL)
                writer.wait_lines(20)
    ledger.check_graph(folder)


def test_a_service_killed_while_it_writes_keeps_what_it_acknowledged(tmp_path: Path) -> None:
    kill_while_writing(tmp_path / "index", 2)


def test_a_service_killed_while_it_optimises_keeps_what_it_acknowledged(tmp_path: Path) -> None:
    kill_while_optimising(tmp_path / "index", 2)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_service_killed_many_times_keeps_what_it_acknowledged(tmp_path: Path) -> None:
    kill_while_writing(tmp_path / "writing", 40)
    kill_while_optimising(tmp_path / "optimising", 40)

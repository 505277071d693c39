"""Shards in processes of their own: they die, they are killed, they are optimised."""

import os
import signal
import threading
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from waiting import until

from service.concurrency.messages import Request
from service.errors import IndexUnavailable
from service.index.edge.edge_backend import EdgeBackend
from service.index.edge.optimizer import OptimizerSettings
from service.index.edge.shard import Shard
from service.index.edge.shard_folder import lock_folder
from service.index.edge.shard_messages import Count, Hold, Ping
from service.index.edge.shard_process import GraphSettings, ShardProcess
from service.index.protocol import Layout, Point
from service.index.vector_index import VectorIndex

LAYOUT = Layout(dim=64, natives={"clip": 8}, connector="exmcr-1")
NEVER = OptimizerSettings(after=10**9, holed=1)
SMALL = GraphSettings(scan_below_kb=100)
SLOW = GraphSettings(m=32, ef_construct=800, threads=1, scan_below_kb=100)


def many(count: int, start: int = 0, dim: int = 64) -> list[Point]:
    rng = np.random.default_rng(start)
    vectors = rng.standard_normal((count, dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    native = np.eye(8, dtype=np.float32)[0]
    return [
        Point(f"p{start + i}", "text", "clip", vectors[i], native, {"metadata": {"n": start + i}})
        for i in range(count)
    ]


def child_of(index: VectorIndex) -> int:
    """The process of the index's only shard."""
    [pid] = index.backend.pids()
    return pid


def shards_in(folder: Path) -> int:
    return len(list((folder / "shards").iterdir()))


def reach_into_the_index_for_the_shard(index: VectorIndex) -> Shard:
    """The shard of the birds: what its process is told, and whether it is due, no caller gets to see."""
    shard: Shard = index.backend._shard(index.backend.current()["birds"].name)
    return shard


def reach_into_the_shard_for_a_process_to_overtake(shard: Shard) -> ShardProcess:
    """The process behind the shard: something has to happen between two answers of it, or to it alone."""
    process: ShardProcess = shard._process
    return process


def reach_into_the_shard_to_see_whether_it_notes(shard: Shard) -> bool:
    """Return whether what is written is noted for a copy, which no caller can tell."""
    return shard._behind is not None


def hand_over_reaching_into_the_backend(index: VectorIndex, shard: Shard, follower: ShardProcess) -> None:
    """Let a copy take over as the optimiser does at the end, at a moment that the test chooses."""
    shard.hand_over(follower, lambda: index.backend._replaced(shard, follower.path))


def reach_into_the_optimizer_to_keep_it_busy(index: VectorIndex) -> AbstractContextManager[object]:
    """Holds, while entered, what the optimiser holds while it is at another shard."""
    busy: AbstractContextManager[object] = index.backend._optimizer._one
    return busy


def test_a_killed_child_is_started_anew_and_nothing_is_lost(tmp_path: Path) -> None:
    with VectorIndex(EdgeBackend(tmp_path, optimizer=NEVER, graph=SMALL), LAYOUT) as index:
        for round_ in range(2):
            index.upsert("birds", many(20, start=20 * round_))
            os.kill(child_of(index), signal.SIGKILL)
            assert index.count("birds") == 20 * (round_ + 1)
        index.delete("birds", ["p0"])
        os.kill(child_of(index), signal.SIGKILL)
        assert index.get("birds", ["p0"]) == []
        assert index.healthy()


def test_equal_points_in_a_graph_and_outside_it_are_one_row(tmp_path: Path) -> None:
    points = many(900)
    points = [replace(point, unified=points[i % 20].unified) for i, point in enumerate(points)]
    with VectorIndex(EdgeBackend(tmp_path, optimizer=NEVER, graph=SMALL), LAYOUT) as index:
        index.upsert("birds", points[300:])
        index.backend.optimize(index.backend.current()["birds"].name)
        index.upsert("birds", points[:300])
        assert index.stats("birds").indexed == 600
        pages = [
            index.search("birds", points[0].unified, limit=4, offset=start, exact=True)
            for start in range(0, 40, 4)
        ]
        equal = sorted(point.id for point in points[::20])
        assert [hit.point.id for page in pages for hit in page] == equal[:40]


def test_a_child_killed_under_load_fails_no_call(tmp_path: Path) -> None:
    points = many(200)
    acknowledged, failures = 0, []
    with VectorIndex(EdgeBackend(tmp_path, optimizer=NEVER, graph=SMALL), LAYOUT) as index:

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
            until(lambda enough=enough: acknowledged >= enough or failures)
            os.kill(child_of(index), signal.SIGKILL)
        writer.join()
        assert failures == []
        assert index.count("birds") == 200


def test_a_shard_has_one_owner_until_its_process_has_ended(tmp_path: Path) -> None:
    with VectorIndex(EdgeBackend(tmp_path, optimizer=NEVER), LAYOUT) as index:
        index.upsert("birds", many(3))
        [folder] = (tmp_path / "shards").iterdir()
        with pytest.raises(TimeoutError, match=folder.name):
            lock_folder(folder, seconds=0.0)
    os.close(lock_folder(folder, seconds=0.0))


def test_a_stuck_child_is_ended_and_the_caller_told(tmp_path: Path) -> None:
    with VectorIndex(EdgeBackend(tmp_path, optimizer=NEVER, graph=SMALL), LAYOUT) as index:
        index.upsert("birds", many(3))
        process = reach_into_the_shard_for_a_process_to_overtake(reach_into_the_index_for_the_shard(index))
        os.kill(child_of(index), signal.SIGSTOP)
        with pytest.raises(IndexUnavailable, match="did not answer"):
            process.call(Ping(), seconds=0.2)
        assert index.count("birds") == 3


def test_optimising_leaves_reads_and_writes_going_and_loses_none(tmp_path: Path) -> None:
    points = many(2_500)
    with VectorIndex(EdgeBackend(tmp_path, optimizer=NEVER, graph=SMALL), LAYOUT) as index:
        index.upsert("birds", points)
        name, shard = index.backend.current()["birds"].name, reach_into_the_index_for_the_shard(index)
        former = child_of(index)
        assert index.stats("birds").indexed == 0
        optimising = threading.Thread(target=index.backend.optimize, args=(name,))
        optimising.start()
        written = 0
        while optimising.is_alive() and written < 400:
            if written == 200:  # what was written before the copy began is in it: the rest comes after
                until(
                    lambda: reach_into_the_shard_to_see_whether_it_notes(shard) or not optimising.is_alive(),
                    every=0.001,
                )
            index.upsert("birds", many(5, start=20_000 + written))
            index.delete("birds", [f"p{written}"])
            index.set_payload("birds", f"p{1500 + written}", {"name": "patched"})
            assert len(index.search("birds", points[1500].unified, limit=3)) == 3
            written += 5
        optimising.join()
        assert written > 0
        assert child_of(index) != former
        assert shard.unindexed() > 0, "what was written meanwhile is still to be indexed"
        assert index.stats("birds").indexed >= 2_000
        assert not index.stats("birds").optimizing
        assert index.count("birds") == 2_500 + written - written // 5
        assert index.get("birds", [f"p{1500 + written - 5}"])[0].payload["name"] == "patched"
        assert index.get("birds", [f"p{n}" for n in range(0, written, 5)]) == []
        assert shards_in(tmp_path) == 1
        found = [index.search("birds", each.unified, limit=1)[0].point.id for each in points[1000:1100]]
        assert found == [each.id for each in points[1000:1100]]


def test_a_writer_that_never_pauses_does_not_hold_an_optimised_copy_off(tmp_path: Path) -> None:
    backend = EdgeBackend(tmp_path, optimizer=NEVER, graph=SMALL)
    with VectorIndex(backend, LAYOUT) as index:
        index.upsert("birds", many(10))
        shard, target = reach_into_the_index_for_the_shard(index), tmp_path / "shards" / "copy"
        with shard.optimizing:
            shard.copy_and_note(target)
        written, done = 10, threading.Event()

        def write() -> None:
            nonlocal written
            while not done.is_set():
                index.upsert("birds", many(256, start=written))
                written += 256

        follower = ShardProcess(target, shard.generation, None, SMALL)
        taking_over = threading.Thread(
            target=hand_over_reaching_into_the_backend, args=(index, shard, follower)
        )
        writer = threading.Thread(target=write)
        writer.start()
        until(lambda: written >= 3_000, failed=lambda: not writer.is_alive())
        taking_over.start()
        taking_over.join(60)
        taken_over = not taking_over.is_alive()
        done.set()
        writer.join()
        taking_over.join()
        assert taken_over
        assert index.count("birds") == written


def test_a_field_is_declared_while_a_copy_is_optimised_and_the_copy_has_it_too(tmp_path: Path) -> None:
    backend = EdgeBackend(tmp_path, optimizer=NEVER, graph=SMALL)
    with VectorIndex(backend, LAYOUT) as index:
        index.upsert("birds", many(3))
        shard, target = reach_into_the_index_for_the_shard(index), tmp_path / "shards" / "copy"
        with shard.optimizing:
            shard.copy_and_note(target)
            declaring = threading.Thread(target=index.declare_field, args=("birds", "metadata.n", "integer"))
            declaring.start()
            declaring.join(60)
            waited = declaring.is_alive()
        declaring.join()
        former = shard.pid
        follower = ShardProcess(target, shard.generation, None, SMALL)
        hand_over_reaching_into_the_backend(index, shard, follower)
        assert not waited
        assert shard.pid != former
        assert index.facets("birds", "metadata.n") == [(0, 1), (1, 1), (2, 1)]


def test_a_copy_goes_on_with_the_optimised_shard_that_takes_over_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = EdgeBackend(tmp_path / "index", optimizer=NEVER, graph=SMALL)
    with VectorIndex(backend, LAYOUT) as index:
        index.upsert("birds", many(3))
        name = backend.current()["birds"].name
        shard = reach_into_the_index_for_the_shard(index)
        optimised = tmp_path / "index" / "shards" / "optimised"
        with shard.optimizing:
            shard.copy_and_note(optimised)
        follower = ShardProcess(optimised, shard.generation, None, SMALL)
        former = reach_into_the_shard_for_a_process_to_overtake(shard)
        asked = former.call

        def overtaken(request: Request[Any], *rest: Any) -> object:
            if isinstance(request, Hold):
                monkeypatch.undo()
                hand_over_reaching_into_the_backend(index, shard, follower)
            return asked(request, *rest)

        index.upsert("birds", many(3, start=3))
        monkeypatch.setattr(former, "call", overtaken)
        backend.copy(name, tmp_path / "copy")
        assert reach_into_the_shard_for_a_process_to_overtake(shard) is follower
        follower.unload()
        copy = ShardProcess(tmp_path / "copy", shard.generation, None, SMALL)
        assert copy.call(Count(None)).count == 6
        copy.close()


def test_a_copy_whose_shard_was_started_anew_meanwhile_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new process does not know that the files are to be left alone."""
    backend = EdgeBackend(tmp_path / "index", optimizer=NEVER, graph=SMALL)
    with VectorIndex(backend, LAYOUT) as index:
        index.upsert("birds", many(3))
        name = backend.current()["birds"].name
        process = reach_into_the_shard_for_a_process_to_overtake(reach_into_the_index_for_the_shard(index))
        asked = process.call

        def killed_while_held(request: Request[Any], *rest: Any) -> object:
            answer = asked(request, *rest)
            if request == Hold(held=True):
                os.kill(child_of(index), signal.SIGKILL)
                assert asked(Count(None)).count == 3
            return answer

        monkeypatch.setattr(process, "call", killed_while_held)
        with pytest.raises(IndexUnavailable, match="copy them again"):
            backend.copy(name, tmp_path / "copy")
        monkeypatch.undo()
        backend.copy(name, tmp_path / "copy")
        index.upsert("birds", many(3, start=3))
        assert index.count("birds") == 6


def test_a_shard_with_enough_new_points_is_optimised_by_itself(tmp_path: Path) -> None:
    settings = OptimizerSettings(after=1500, idle_seconds=0.2, tick_seconds=0.1)
    with VectorIndex(EdgeBackend(tmp_path, optimizer=settings, graph=SMALL), LAYOUT) as index:
        index.upsert("birds", many(2_000))
        assert until(lambda: index.stats("birds").indexed, every=0.2) > 1500
        assert index.count("birds") == 2_000


def test_a_graph_that_much_was_deleted_from_is_built_anew_by_itself(tmp_path: Path) -> None:
    """After a restart too: what was deleted before it is not forgotten."""
    thin = GraphSettings(m=8, ef_construct=64, threads=1, scan_below_kb=20)
    points, gone = many(2_000), 1_600
    with VectorIndex(EdgeBackend(tmp_path, optimizer=NEVER, graph=thin), LAYOUT) as index:
        index.upsert("birds", points)
        name = index.backend.current()["birds"].name
        index.backend.optimize(name)
        shard = reach_into_the_index_for_the_shard(index)
        index.delete("birds", [each.id for each in points[:300]])
        assert 0.14 < shard.holed() <= 0.15
        index.delete("birds", [each.id for each in points[300:gone]])
        assert 0.75 < shard.holed() <= 0.8
        assert index.stats("birds").indexed == 400
    by_itself = OptimizerSettings(idle_seconds=0.1, tick_seconds=0.1)
    with VectorIndex(EdgeBackend(tmp_path, optimizer=by_itself, graph=thin), LAYOUT) as index:
        assert index.count("birds") == 400
        shard = reach_into_the_index_for_the_shard(index)
        until(lambda: shard.holed() == 0, every=0.1)
        assert shard.unindexed() == 0
        assert index.stats("birds").indexed == 400
        found = [index.search("birds", each.unified, limit=1)[0].point.id for each in points[gone:]]
        assert found == [each.id for each in points[gone:]]


def test_closing_while_optimising_gives_up_at_once(tmp_path: Path) -> None:
    index = VectorIndex(EdgeBackend(tmp_path, optimizer=NEVER, graph=SMALL), LAYOUT)
    index.upsert("birds", many(2_500))
    failures: list[Exception] = []

    def optimise() -> None:
        try:
            index.backend.optimize(index.backend.current()["birds"].name)
        except IndexUnavailable as error:
            failures.append(error)

    thread = threading.Thread(target=optimise)
    thread.start()
    until(lambda: shards_in(tmp_path) == 2, failed=lambda: not thread.is_alive())  # one is the copy
    index.close()
    thread.join(120)
    assert not thread.is_alive()
    assert len(failures) == 1
    with VectorIndex(EdgeBackend(tmp_path), LAYOUT) as again:
        assert again.count("birds") == 2_500
        assert shards_in(tmp_path) == 1


def test_indexing_that_is_given_up_ends_at_once_and_loses_nothing(tmp_path: Path) -> None:
    """As a refresh does that is cancelled or paused while a million points are indexed."""
    settings = OptimizerSettings(after=1_000, tick_seconds=3_600)
    with VectorIndex(EdgeBackend(tmp_path, optimizer=settings, graph=SLOW), LAYOUT) as index:
        index.upsert("birds", many(2_500))
        name, begun = index.backend.current()["birds"].name, threading.Event()

        def given_up() -> bool:
            """As soon as it has begun, and only once: the job is resumed at once."""
            if shards_in(tmp_path) < 2 or begun.is_set():
                return False
            begun.set()
            return True

        assert index.backend.finish_indexing(name, given_up) is False
        assert index.stats("birds").indexed == 0 and index.count("birds") == 2_500
        assert shards_in(tmp_path) == 1, "the copy is gone"
        with reach_into_the_optimizer_to_keep_it_busy(index):
            assert index.backend.finish_indexing(name, lambda: True) is False
        assert index.backend.finish_indexing(name) is True
        assert index.stats("birds").indexed == 2_500


def test_a_generation_that_is_read_cannot_be_deleted(tmp_path: Path) -> None:
    with VectorIndex(EdgeBackend(tmp_path), LAYOUT) as index:
        index.upsert("birds", many(3))
        with pytest.raises(IndexUnavailable, match="is read"):
            index.backend.drop(index.backend.current()["birds"].name)
    with VectorIndex(EdgeBackend(tmp_path), LAYOUT) as index:
        assert index.count("birds") == 3


def test_half_made_shards_are_removed_at_the_next_start(tmp_path: Path) -> None:
    with VectorIndex(EdgeBackend(tmp_path), LAYOUT) as index:
        index.upsert("birds", many(3))
    (tmp_path / "shards" / "half").mkdir()
    with VectorIndex(EdgeBackend(tmp_path), LAYOUT) as index:
        assert index.count("birds") == 3
        assert shards_in(tmp_path) == 1


def test_what_a_kill_left_of_a_deleted_collection_is_removed_at_the_next_start(tmp_path: Path) -> None:
    with VectorIndex(EdgeBackend(tmp_path), LAYOUT) as index:
        index.upsert("birds", many(3))
        index.upsert("fish", many(2))
        index.backend.switch({"birds": None})  # the first of the two steps of a deletion
    with VectorIndex(EdgeBackend(tmp_path), LAYOUT) as index:
        assert index.backend.generations("birds") == []
        assert index.count("fish") == 2
        assert shards_in(tmp_path) == 1
    with VectorIndex(EdgeBackend(tmp_path), LAYOUT) as index:
        assert [each.name for each in index.collections()] == ["fish"]

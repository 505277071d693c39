"""A refresh: what every back end does, while points are written, in whatever order things happen."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from vector_tolerance import assert_same_vectors

from connectors.errors import ConfigError
from service.errors import CollectionConflict
from service.index.protocol import Layout, Point
from service.index.refresh import PAGE, Refresh, discard
from service.index.vector_index import VectorIndex

from .conftest import LAYOUT, PERSISTENT, make_points, open_back_end

SECOND, THIRD = replace(LAYOUT, connector="exmcr-2"), replace(LAYOUT, connector="exmcr-3")


class Projection:
    """A fixed random map a leaf; the base space stays as it is. It counts what it was asked for."""

    def __init__(self, layout: Layout) -> None:
        self.asked: list[str] = []
        self.maps = {}
        for space in ("clap", "ulip"):
            seed = int.from_bytes(f"{layout.connector}/{space}".encode()[-8:], "big")
            self.maps[space] = np.random.default_rng(seed).standard_normal(
                (LAYOUT.natives[space], LAYOUT.dim)
            )

    def __call__(self, space: str, modality: str, native: np.ndarray) -> np.ndarray | None:
        if space == "clip":
            return None
        self.asked += [modality] * len(native)
        unified = native @ self.maps[space]
        return (unified / np.linalg.norm(unified, axis=1, keepdims=True)).astype(np.float32)


def points_under(layout: Layout, count: int, seed: int = 0) -> list[Point]:
    """Points whose unified vectors are those their native ones have under a connector."""
    projection = Projection(layout)
    points = []
    for point in make_points(count, seed):
        unified = projection(point.space, point.modality, point.native[None])
        payload = {**point.payload, "connector": layout.connector}
        points.append(
            replace(point, unified=point.native if unified is None else unified[0], payload=payload)
        )
    return points


def refresh(index: VectorIndex, layout: Layout, projection: Projection | None = None) -> Refresh:
    """A whole refresh; gives it, closed, with its tally."""
    with Refresh(index, layout, projection or Projection(layout)) as whole:
        for _ in whole.steps():
            pass
        whole.finish_indexing()
        assert whole.switch()
        whole.drop_older()
    return whole


def check_space(index: VectorIndex, collection: str, layout: Layout, ids: Sequence[str]) -> None:
    """Exactly these points are there, each in the space of `layout`."""
    points, cursor = index.scroll(collection, 5000, with_vectors=True)
    assert cursor is None
    assert sorted(point.id for point in points) == sorted(ids)
    projection = Projection(layout)
    for point in points:
        expected = projection(point.space, point.modality, point.native[None])
        np.testing.assert_allclose(
            point.unified, point.native if expected is None else expected[0], atol=1e-5, err_msg=point.id
        )
        assert point.payload["connector"] == layout.connector
    assert index.stats(collection).connector == layout.connector


def ids(points: Sequence[Point]) -> list[str]:
    return [point.id for point in points]


def test_every_point_of_every_collection_changes_space_and_nothing_else(index: VectorIndex) -> None:
    points = points_under(LAYOUT, 3 * PAGE)
    index.upsert("birds", points)
    index.upsert("fish", points[:7])
    index.create("empty", LAYOUT.dim)
    index.declare_field("birds", "metadata.size", "integer")
    before = {point.id: point for point in index.get("birds", ids(points), with_vectors=True)}
    refresh(index, SECOND)
    check_space(index, "birds", SECOND, ids(points))
    check_space(index, "fish", SECOND, ids(points[:7]))
    assert index.stats("empty").connector == SECOND.connector
    assert index.stats("birds").fields["metadata.size"] == "integer"
    for point in index.get("birds", ids(points), with_vectors=True):
        former = before[point.id]
        assert_same_vectors(point.native, former.native, point.id)
        assert {**point.payload, "connector": LAYOUT.connector} == former.payload


def test_only_the_leaves_are_projected(index: VectorIndex) -> None:
    points = points_under(LAYOUT, 80)
    index.upsert("birds", points)
    base = [point.id for point in points if point.space == "clip"]
    before = {point.id: point.unified for point in index.get("birds", base, with_vectors=True)}
    projection = Projection(SECOND)
    done = refresh(index, SECOND, projection)
    assert sorted(projection.asked) == ["audio"] * 20 + ["point_cloud"] * 20
    assert (done.tally.projected, done.tally.unchanged) == (40, 40)
    for point in index.get("birds", base, with_vectors=True):
        assert_same_vectors(point.unified, before[point.id], point.id)


def test_a_search_is_answered_in_the_space_it_was_asked_in_or_not_at_all(index: VectorIndex) -> None:
    points = points_under(LAYOUT, 12)
    index.upsert("birds", points)
    audio = next(point for point in points if point.modality == "audio")
    again = next(point for point in points_under(SECOND, 12) if point.id == audio.id)
    assert index.search("birds", audio.unified, 1, connector=LAYOUT.connector)[0].point.id == audio.id
    refresh(index, SECOND)
    hit = index.search("birds", again.unified, 1, connector=SECOND.connector)[0]
    assert hit.point.id == audio.id and hit.cosine == pytest.approx(1, abs=1e-5)
    for refused in (
        lambda: index.search("birds", audio.unified, 1, connector=LAYOUT.connector),
        lambda: index.search("none", audio.unified, 1, connector=LAYOUT.connector),
        lambda: index.upsert("birds", points, LAYOUT.connector),
    ):
        with pytest.raises(CollectionConflict):
            refused()
    index.upsert("birds", points_under(SECOND, 12), SECOND.connector)


def test_what_is_written_meanwhile_is_in_both_generations(index: VectorIndex) -> None:
    points = points_under(LAYOUT, 4 * PAGE)
    index.upsert("birds", points)
    extra = [replace(point, id=f"late {point.id}") for point in points_under(LAYOUT, 40, seed=9)]
    with Refresh(index, SECOND, Projection(SECOND)) as under_way:
        for number, _ in enumerate(under_way.steps()):
            index.upsert("birds", extra[2 * number : 2 * number + 2], LAYOUT.connector)
            index.delete("birds", [points[3 * number].id])
            index.set_payload("birds", points[3 * number + 1].id, {"caption": f"changed {number}"})
            index.upsert("birds", [replace(points[3 * number + 2], payload={"connector": "x"})])
        rounds = number + 1
        index.delete("birds", [points[-1].id])
        index.declare_field("birds", "metadata.size", "integer")
        assert under_way.switch()
    gone = {points[3 * n].id for n in range(rounds)} | {points[-1].id}
    expected = [each.id for each in points if each.id not in gone] + ids(extra[: 2 * rounds])
    check_space(index, "birds", SECOND, expected)
    captions = index.get("birds", [points[3 * n + 1].id for n in range(rounds)])
    assert [each.payload["caption"] for each in captions] == [f"changed {n}" for n in range(rounds)]
    assert index.stats("birds").fields["metadata.size"] == "integer"


def test_a_writer_that_never_pauses_does_not_hold_a_refresh_off(index: VectorIndex) -> None:
    """All is written again in each step, three times what a step catches up with."""
    points = points_under(LAYOUT, 3 * PAGE)
    index.upsert("birds", points)
    with Refresh(index, SECOND, Projection(SECOND)) as under_way:
        for number, _ in enumerate(under_way.steps()):
            assert number < 20
            index.upsert("birds", points, LAYOUT.connector)
        assert under_way.switch()
    check_space(index, "birds", SECOND, ids(points))


def test_collections_come_and_go_meanwhile(index: VectorIndex) -> None:
    points = points_under(LAYOUT, 2 * PAGE)
    for name in ("birds", "fish", "mice"):
        index.upsert(name, points)
    with Refresh(index, SECOND, Projection(SECOND)) as under_way:
        steps = under_way.steps()
        next(steps)
        for name in ("birds", "mice"):
            assert index.drop(name)
        index.upsert("mice", points[:3])
        for _ in steps:
            pass
        index.upsert("newts", points[:5], LAYOUT.connector)
        assert not under_way.switch()
        for _ in under_way.steps():
            pass
        assert under_way.switch()
    assert [each.name for each in index.collections()] == ["fish", "mice", "newts"]
    check_space(index, "fish", SECOND, ids(points))
    check_space(index, "mice", SECOND, ids(points[:3]))
    check_space(index, "newts", SECOND, ids(points[:5]))


def test_going_back_costs_what_was_written_since(index: VectorIndex) -> None:
    points = points_under(LAYOUT, 200)
    index.upsert("birds", points)
    refresh(index, SECOND)
    index.delete("birds", ids(points[:10]))
    index.upsert("birds", points_under(SECOND, 30)[20:], SECOND.connector)
    index.set_payload("birds", points[50].id, {"caption": "changed"})
    projection = Projection(LAYOUT)
    back = refresh(index, LAYOUT, projection)
    check_space(index, "birds", LAYOUT, ids(points[10:]))
    assert index.get("birds", [points[50].id])[0].payload["caption"] == "changed"
    assert back.tally.projected + back.tally.unchanged == 11
    assert len(projection.asked) == back.tally.projected == 5
    assert back.tally.removed == 10


def test_going_back_brings_no_deleted_point_back_while_another_is_written(index: VectorIndex) -> None:
    """One gone and one new: the counts are the same while the new one is still to be brought over."""
    points = points_under(LAYOUT, 20)
    index.upsert("birds", points)
    refresh(index, SECOND)
    index.delete("birds", [points[0].id])
    late = replace(points_under(SECOND, 1, seed=9)[0], id="late")
    with Refresh(index, LAYOUT, Projection(LAYOUT)) as back:
        steps = back.steps()
        next(steps)
        index.upsert("birds", [late], SECOND.connector)
        for _ in steps:
            pass
        back.finish_indexing()
        assert back.switch()
    check_space(index, "birds", LAYOUT, [*ids(points[1:]), "late"])


def test_only_the_generation_read_before_is_kept(index: VectorIndex) -> None:
    index.upsert("birds", points_under(LAYOUT, 9))
    for layout in (SECOND, THIRD, SECOND, THIRD):
        refresh(index, layout)
        kept = {each.layout.connector for each in index.backend.generations("birds")}
        assert layout.connector in kept and len(kept) == 2
    discard(index, SECOND.connector)
    discard(index, THIRD.connector)
    [only] = index.backend.generations("birds")
    assert only == index.backend.current()["birds"]


@pytest.mark.parametrize("back_end", PERSISTENT)
def test_a_collection_made_anew_after_the_switch_is_kept(back_end: str, tmp_path: Path) -> None:
    points = points_under(SECOND, 9)
    with open_back_end(back_end, tmp_path) as index:
        for name in ("birds", "fish"):
            index.upsert(name, points_under(LAYOUT, 9))
        with Refresh(index, SECOND, Projection(SECOND)) as whole:
            for _ in whole.steps():
                pass
            assert whole.switch()
            assert index.drop("birds") and index.drop("fish")
            index.upsert("birds", points[:3], SECOND.connector)
            whole.drop_older()
        check_space(index, "birds", SECOND, ids(points[:3]))
    with open_back_end(back_end, tmp_path, SECOND) as index:
        check_space(index, "birds", SECOND, ids(points[:3]))
        assert [each.name for each in index.collections()] == ["birds"]


def test_a_refresh_that_failed_leaves_all_as_it_was_and_is_taken_up_again(index: VectorIndex) -> None:
    points = points_under(LAYOUT, 4 * PAGE)
    index.upsert("birds", points)
    projection = Projection(SECOND)

    def failing(space: str, modality: str, native: np.ndarray) -> np.ndarray | None:
        if len(projection.asked) > PAGE:
            raise ConfigError("there is no head for this")
        return projection(space, modality, native)

    with pytest.raises(ConfigError, match="no head"), Refresh(index, SECOND, failing) as broken:
        for _ in broken.steps():
            pass
    check_space(index, "birds", LAYOUT, ids(points))
    index.delete("birds", [points[0].id])
    done = len(projection.asked)
    refresh(index, SECOND, projection)
    check_space(index, "birds", SECOND, ids(points[1:]))
    assert len(projection.asked) < 2 * PAGE + done


@pytest.mark.parametrize("back_end", PERSISTENT)
def test_a_refresh_is_taken_up_by_another_process(back_end: str, tmp_path: Path) -> None:
    points = points_under(LAYOUT, 4 * PAGE)
    with open_back_end(back_end, tmp_path) as index:
        index.upsert("birds", points)
        steps = Refresh(index, SECOND, Projection(SECOND)).steps()
        next(steps)
        next(steps)
        index.delete("birds", [points[0].id])
    with open_back_end(back_end, tmp_path) as index:
        projection = Projection(SECOND)
        refresh(index, SECOND, projection)
        assert 0 < len(projection.asked) < 2 * PAGE
    with open_back_end(back_end, tmp_path, SECOND) as index:
        check_space(index, "birds", SECOND, ids(points[1:]))

"""What every back end does, one behaviour a test."""

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from connectors.errors import ConfigError
from service.errors import CollectionConflict, IndexUnavailable, InvalidFilter
from service.index.protocol import Index
from service.index.vector_index import VectorIndex

from .conftest import LAYOUT, PERSISTENT, make_points, open_back_end, unit


def test_it_is_an_index(index: VectorIndex) -> None:
    assert isinstance(index, Index)
    assert index.healthy()


def test_a_collection_that_is_not_there_reads_as_empty(index: VectorIndex) -> None:
    query = unit(np.random.default_rng(0), LAYOUT.dim)
    assert index.get("none", ["a"]) == []
    assert index.delete("none", ["a"]) == []
    assert index.scroll("none") == ([], None)
    assert index.search("none", query, limit=3) == []
    assert index.count("none") == 0
    assert index.facets("none", "modality") == []
    assert index.stats("none") is None
    assert index.drop("none") is False
    assert index.set_payload("none", "a", {"name": "b"}) is False
    assert index.collections() == []


def test_the_first_upsert_creates_the_collection(index: VectorIndex) -> None:
    index.upsert("birds", make_points(3))
    [info] = index.collections()
    assert (info.name, info.dim, info.count) == ("birds", LAYOUT.dim, 3)
    assert index.create("birds", LAYOUT.dim) is False
    assert index.create("empty", LAYOUT.dim) is True
    assert [each.name for each in index.collections()] == ["birds", "empty"]


def test_points_come_back_as_they_went_in(index: VectorIndex) -> None:
    points = make_points(8)
    index.upsert("birds", points)
    back = index.get("birds", [points[5].id, "unknown", points[2].id], with_vectors=True)
    for stored, point in zip(back, (points[5], points[2]), strict=True):
        assert (stored.id, stored.modality, stored.space) == (point.id, point.modality, point.space)
        assert stored.payload == point.payload
        np.testing.assert_allclose(stored.unified, point.unified, atol=1e-6)
        np.testing.assert_allclose(stored.native, point.native, atol=1e-6)
    assert index.get("birds", [points[0].id])[0].unified is None


def test_metadata_comes_back_to_the_last_bit(index: VectorIndex) -> None:
    [point] = make_points(1)
    odd = {
        "floats": [0.1, 1 / 3, 2.2250738585072014e-308, -25.59999999999999, 1e300, 5.0],
        "whole": [2**63 - 1, -(2**63), 0],
        "truth": [True, False, None, {"deep": [False]}],
        "text": ["", "\ue000", "\ue000\ue001", "naïve 🐦\n\x00", "true"],
        "": {"a.b": 1, "c[0]": {}},
    }
    index.upsert("birds", [replace(point, payload={"metadata": odd})])
    assert index.get("birds", [point.id])[0].payload == {"metadata": odd}
    index.set_payload("birds", point.id, {"metadata": {"weight": 4.857142857142857}})
    assert index.get("birds", [point.id])[0].payload == {"metadata": {"weight": 4.857142857142857}}
    index.set_payload("birds", point.id, {"metadata": {"weight": 5, "new": True}})
    back = index.get("birds", [point.id])[0].payload["metadata"]
    assert back == {"weight": 5, "new": True}
    assert [type(value) for value in back.values()] == [int, bool]


def test_upserting_twice_is_once_and_the_last_wins(index: VectorIndex) -> None:
    points = make_points(4)
    index.upsert("birds", points)
    index.upsert(
        "birds", [replace(points[0], payload={"name": "old"}), replace(points[0], payload={"name": "new"})]
    )
    assert index.count("birds") == 4
    assert index.get("birds", [points[0].id])[0].payload == {"name": "new"}


def test_a_hundred_pages_worth_of_points_fit_one_call(index: VectorIndex) -> None:
    points = make_points(600)
    index.upsert("birds", points)
    assert index.count("birds") == 600
    ids = [point.id for point in points]
    assert [point.id for point in index.get("birds", ids)] == ids
    assert index.delete("birds", ids) == ids


def test_delete_tells_what_was_really_there(index: VectorIndex) -> None:
    points = make_points(4)
    index.upsert("birds", points)
    assert index.delete("birds", [points[1].id, "unknown", points[1].id]) == [points[1].id]
    assert index.delete("birds", [points[1].id]) == []
    assert index.count("birds") == 3


def test_set_payload_replaces_the_fields_it_names(index: VectorIndex) -> None:
    [point] = make_points(1)
    index.upsert("birds", [point])
    assert index.set_payload("birds", point.id, {"metadata": {"colour": "grey"}}) is True
    assert index.set_payload("birds", "unknown", {"metadata": {}}) is False
    [stored] = index.get("birds", [point.id], with_vectors=True)
    assert stored.payload == {**point.payload, "metadata": {"colour": "grey"}}
    np.testing.assert_allclose(stored.unified, point.unified, atol=1e-6)


def test_pages_cover_every_point_once(index: VectorIndex) -> None:
    points = make_points(103)
    index.upsert("birds", points)
    seen, cursor, pages = [], None, 0
    while True:
        page, cursor = index.scroll("birds", limit=25, cursor=cursor)
        seen += [point.id for point in page]
        pages += 1
        if cursor is None:
            break
    assert pages == 5
    assert sorted(seen) == sorted(point.id for point in points)


def test_pages_may_hold_one_modality_and_a_filter(index: VectorIndex) -> None:
    index.upsert("birds", make_points(40))
    page, _ = index.scroll(
        "birds",
        modality="audio",
        where={"must": [{"key": "metadata.size", "range": {"gte": 20}}]},
        with_vectors=True,
    )
    assert sorted(point.payload["metadata"]["size"] for point in page) == [22, 26, 30, 34, 38]
    assert all(point.native.shape == (12,) for point in page)


def test_search_finds_what_a_scan_by_hand_finds(index: VectorIndex) -> None:
    points = make_points(200)
    index.upsert("birds", points)
    query = unit(np.random.default_rng(9), LAYOUT.dim)
    cosines = {point.id: float(point.unified @ query) for point in points}
    best = sorted(cosines, key=lambda each: -cosines[each])
    hits = index.search("birds", query, limit=10)
    assert [hit.point.id for hit in hits] == best[:10]
    assert [hit.cosine for hit in hits] == pytest.approx([cosines[each] for each in best[:10]], abs=1e-5)
    assert [hit.point.id for hit in index.search("birds", query, limit=5, offset=7)] == best[7:12]
    above = index.search("birds", query, limit=200, score_threshold=0.3)
    assert {hit.point.id for hit in above} == {each for each in cosines if cosines[each] >= 0.3}
    audio = index.search("birds", query, limit=3, modality="audio", with_vectors=True)
    assert [hit.point.modality for hit in audio] == ["audio"] * 3
    assert audio[0].cosine == pytest.approx(float(audio[0].point.unified @ query), abs=1e-5)


def test_facets_count_values_of_declared_fields(index: VectorIndex) -> None:
    index.upsert("birds", make_points(30))
    assert index.facets("birds", "modality") == [("image", 8), ("text", 8), ("audio", 7), ("point_cloud", 7)]
    with pytest.raises(InvalidFilter, match=r"metadata\.colour"):
        index.facets("birds", "metadata.colour")
    index.declare_field("birds", "metadata.colour", "keyword")
    where = {"must": [{"key": "metadata.size", "range": {"lt": 10}}]}
    assert index.facets("birds", "metadata.colour", where=where) == [("red", 4), ("blue", 3), ("green", 3)]
    assert index.stats("birds").fields["metadata.colour"] == "keyword"


def test_facets_of_numbers_are_in_the_order_of_numbers(index: VectorIndex) -> None:
    index.upsert("birds", make_points(12))
    index.declare_field("birds", "metadata.size", "integer")
    assert index.facets("birds", "metadata.size", limit=11) == [(size, 1) for size in range(11)]


def test_vectors_of_another_connector_are_refused(index: VectorIndex) -> None:
    points = make_points(2)
    index.upsert("birds", points, connector="exmcr-1")
    with pytest.raises(CollectionConflict, match="exmcr-2"):
        index.upsert("birds", points, connector="exmcr-2")
    with pytest.raises(CollectionConflict, match="exmcr-2"):
        index.search("birds", points[0].unified, limit=1, connector="exmcr-2")
    assert len(index.search("birds", points[0].unified, limit=1, connector="exmcr-1")) == 1


def test_what_cannot_be_stored_is_refused_by_name(index: VectorIndex) -> None:
    [point] = make_points(1)
    for wrong, said in (
        (replace(point, unified=point.unified[:5]), "unified"),
        (replace(point, native=np.full(16, np.nan, np.float32)), "native"),
        (replace(point, space="imagebind"), "imagebind"),
        (replace(point, id=""), "id"),
        (replace(point, payload={"metadata": {"big": 2**70}}), "big"),
        (replace(point, payload={"metadata": {"bad": float("nan")}}), "bad"),
        (replace(point, payload={"metadata": {"odd": "\ud800"}}), "odd"),
        (replace(point, payload={"modality": "text"}), "modality"),
    ):
        with pytest.raises(ConfigError, match=said):
            index.upsert("birds", [wrong])
    with pytest.raises(ConfigError, match="cursor"):
        index.scroll("birds", cursor="page two")
    with pytest.raises(ConfigError, match="name"):
        index.create("a/b", LAYOUT.dim)
    with pytest.raises(ConfigError, match="limit"):
        index.search("birds", point.unified, limit=10_001)
    with pytest.raises(ConfigError, match="shape"):
        index.search("birds", np.zeros(3, np.float32), limit=1)


def test_many_threads_lose_nothing(index: VectorIndex) -> None:
    points = make_points(160)
    failures = []

    def work(part: int) -> None:
        try:
            for point in points[part::8]:
                index.upsert("birds", [point])
                assert index.get("birds", [point.id])
                index.search("birds", point.unified, limit=3)
                if part % 2:
                    assert index.delete("birds", [point.id]) == [point.id]
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(part,)) for part in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert index.count("birds") == 80


def test_a_dropped_collection_is_gone_and_may_be_made_again(index: VectorIndex) -> None:
    index.upsert("birds", make_points(5))
    index.upsert("bees", make_points(2))
    assert index.drop("birds") is True
    assert index.count("birds") == 0
    index.upsert("birds", make_points(1))
    assert index.count("birds") == 1
    assert index.count("bees") == 2


Read = Callable[[VectorIndex], object]
READS: dict[str, tuple[str, Read, object, object]] = {
    "the list": ("count", lambda index: [each.count for each in index.collections()], [5], [2, 5]),
    "a count": ("count", lambda index: index.count("bees"), 0, 2),
    "a page": ("scroll", lambda index: len(index.scroll("bees")[0]), 0, 2),
    "points": ("retrieve", lambda index: len(index.get("bees", [each.id for each in make_points(3)])), 0, 2),
    "a search": (
        "query",
        lambda index: len(index.search("bees", make_points(1)[0].unified, 10)),
        0,
        2,
    ),
    "facets": ("facet", lambda index: index.facets("bees", "modality"), [], [("image", 1), ("text", 1)]),
    "its state": ("usage", lambda index: getattr(index.stats("bees"), "count", None), None, 2),
}
"""By what is read: the backend's part in it, and the answers without the collection and with a new one."""


@pytest.mark.parametrize("again", [False, True], ids=["for good", "made anew"])
@pytest.mark.parametrize(("asked", "read", "without", "anew"), READS.values(), ids=READS)
def test_a_collection_deleted_while_it_is_asked_fails_nobody(
    index: VectorIndex,
    asked: str,
    read: Read,
    without: object,
    anew: object,
    again: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It goes between its generation being found and being asked."""
    ask, overtaken = getattr(index.backend, asked), list[str]()

    def overtake(name: str, *arguments: Any) -> object:
        if index.backend.current()["bees"].name == name:
            monkeypatch.undo()
            overtaken.append(name)
            index.drop("bees")
            if again:
                index.upsert("bees", make_points(2))
        return ask(name, *arguments)

    index.upsert("birds", make_points(5))
    index.upsert("bees", make_points(1))
    monkeypatch.setattr(index.backend, asked, overtake)
    assert read(index) == (anew if again else without)
    assert len(overtaken) == 1


@pytest.mark.parametrize("name", PERSISTENT)
def test_acknowledged_points_are_there_after_reopening(name: str, tmp_path: Path) -> None:
    with open_back_end(name, tmp_path) as first:
        first.upsert("birds", make_points(20))
        first.declare_field("birds", "metadata.colour", "keyword")
        first.delete("birds", [make_points(1)[0].id])
    with open_back_end(name, tmp_path) as second:
        assert second.count("birds") == 19
        assert second.stats("birds").connector == "exmcr-1"
        assert len(second.facets("birds", "metadata.colour")) == 3


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the client's lock file
@pytest.mark.parametrize("name", PERSISTENT)
def test_one_process_at_a_time_opens_a_folder(name: str, tmp_path: Path) -> None:
    with open_back_end(name, tmp_path), pytest.raises(IndexUnavailable, match="in use"):
        open_back_end(name, tmp_path)

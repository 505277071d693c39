"""Every back end gives the same answers: hundreds of filters, searches and pages, compared one by one."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.errors import InvalidFilter
from service.index.vector_index import VectorIndex

from .conftest import BACK_ENDS, LAYOUT, make_points, open_back_end, unit

POINTS = make_points(120)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, VectorIndex]]:
    folder: Path = tmp_path_factory.mktemp("indexes")
    indexes = {name: open_back_end(name, folder) for name in BACK_ENDS}
    for index in indexes.values():
        index.drop("birds")
        index.upsert("birds", POINTS)
        index.declare_field("birds", "metadata.size", "integer")
        index.declare_field("birds", "metadata.rare", "bool")
        index.delete("birds", [point.id for point in POINTS[100:110]])
        index.set_payload("birds", POINTS[3].id, {"metadata": {"colour": "violet"}, "caption": None})
    yield indexes
    for index in indexes.values():
        index.close()


def condition(choose: random.Random, nested: bool = False, depth: int = 0) -> dict[str, Any]:
    """One condition of any kind the grammar has."""
    day = f"2026-0{choose.randint(1, 9)}-15T00:00:00Z"
    lon, lat = choose.uniform(-170, 120), choose.uniform(-70, 60)
    box = {"top_left": {"lon": lon, "lat": lat + 20}, "bottom_right": {"lon": lon + 50, "lat": lat}}
    corners = [(lon, lat), (lon + 50, lat), (lon + 50, lat + 20), (lon, lat + 20), (lon, lat)]
    ring = {"points": [{"lon": x, "lat": y} for x, y in corners]}
    colours = choose.sample(["red", "green", "blue", "violet", "none"], 2)
    field = choose.choice(
        [
            {"key": "metadata.colour", "match": {"value": colours[0]}},
            {"key": "metadata.colour", "match": {"any": colours}},
            {"key": "metadata.colour", "match": {"except": colours}},
            {"key": "metadata.size", "match": {"any": choose.sample(range(120), 9)}},
            {"key": "metadata.size", "match": {"except": choose.sample(range(120), 9)}},
            {"key": "metadata.size", "match": {"value": choose.randint(0, 119)}},
            {"key": "metadata.size", "range": {"gte": choose.randint(0, 60), "lt": choose.randint(40, 120)}},
            {"key": "metadata.weight", "range": {"gt": choose.uniform(0, 9), "lte": choose.uniform(5, 17)}},
            {"key": "metadata.rare", "match": {"value": choose.random() < 0.5}},
            {"key": "metadata.tags", "match": {"value": f"t{choose.randint(0, 6)}"}},
            {"key": "metadata.tags[]", "match": {"any": ["t1", "t5"]}},
            {"key": "metadata.tags[0]", "match": {"value": "t1"}},
            {"key": "metadata.tags", "values_count": {"gte": 2}},
            {"key": "metadata.sometimes", "values_count": {"lt": 1}},
            {"key": "metadata.taken", "range": {"gte": day}},
            {"key": "created", "range": {"lt": "2026-05-20T12:00:00Z", "gte": "2026-05-03"}},
            {"key": "metadata.place", "geo_bounding_box": box},
            {"key": "metadata.place", "geo_radius": {"center": {"lon": lon, "lat": lat}, "radius": 2.5e6}},
            {"key": "metadata.place", "geo_polygon": {"exterior": ring}},
            {"key": "metadata.parts[].kind", "match": {"value": "k1"}},
            {"key": "metadata.parts[1].n", "range": {"gt": 2}},
            {"key": 'metadata."two words"', "match": {"value": "w1"}},
            {"key": "caption", "match": {"text": choose.choice(["thing red", "GREEN", "blue red", "7"])}},
            {"key": "modality", "match": {"any": ["text", "audio"]}},
            {"key": "sha256", "match": {"value": f"{choose.randint(0, 50):064x}"}},
            {"key": "name", "match": {"value": f"file{choose.randint(0, 120)}"}},
            {"key": "id", "match": {"value": "item/7 é"}},
            {"key": "metadata.sometimes", "is_empty": choose.random() < 0.5},
            {"key": "metadata.nothing", "is_null": choose.random() < 0.5},
            {"is_empty": {"key": "metadata.sometimes"}},
            {"is_empty": {"key": "caption"}},
            {"is_null": {"key": "metadata.nothing"}},
            {"has_id": [point.id for point in choose.sample(POINTS, 20)]},
            {
                "nested": {
                    "key": choose.choice(["metadata.parts", "metadata.parts[]"]),
                    "filter": {
                        "must": [
                            {"key": "kind", "match": {"value": f"k{choose.randint(0, 2)}"}},
                            {"key": "n", "range": {"gte": choose.randint(0, 5)}},
                        ]
                    },
                }
            },
        ]
    )
    return where(choose, depth + 1) if depth < 3 and choose.random() < 0.25 else field


def where(choose: random.Random, depth: int = 0) -> dict[str, Any]:
    """A filter of one to three clauses."""
    clauses: dict[str, Any] = {}
    for name in choose.sample(["must", "should", "must_not", "min_should"], choose.choice([1, 1, 1, 2, 3])):
        conditions = [condition(choose, depth=depth) for _ in range(choose.randint(1, 3))]
        if name == "min_should":
            clauses[name] = {"conditions": conditions, "min_count": choose.choice([1, 1, 1, 2, 2, 4])}
        else:
            clauses[name] = conditions if choose.random() < 0.8 else conditions[0]
    return clauses


def test_every_filter_matches_the_same_points_everywhere(both: dict[str, VectorIndex]) -> None:
    choose = random.Random(7)
    matched = 0
    for _ in range(120):
        asked = where(choose)
        answers = {}
        for name, index in both.items():
            page, cursor = index.scroll("birds", limit=200, where=asked)
            assert cursor is None
            answers[name] = [point.id for point in page]
        reference = answers.pop("memory")
        matched += 0 < len(reference) < 110
        assert both["edge"].count("birds", where=asked) == len(reference)
        for name, answer in answers.items():
            assert answer == reference, f"{name} differs from memory on {asked}"
    assert matched > 60, "most filters should match some points and not all"


@pytest.mark.parametrize("key", ["metadata.rare", "metadata.flags.wild"], ids=["declared", "nested"])
@pytest.mark.parametrize("value", [True, False])
def test_a_boolean_matches_itself_everywhere(both: dict[str, VectorIndex], key: str, value: bool) -> None:
    left = [point for i, point in enumerate(POINTS) if i != 3 and not 100 <= i < 110]
    expected = {point.id for point in left if point.payload["metadata"]["rare"] is value}
    assert 0 < len(expected) < len(left)
    for name, index in both.items():
        page, _ = index.scroll("birds", limit=200, where={"must": [{"key": key, "match": {"value": value}}]})
        assert {point.id for point in page} == expected, name


def test_searches_and_facets_are_the_same_everywhere(both: dict[str, VectorIndex]) -> None:
    choose, rng = random.Random(3), np.random.default_rng(3)
    for _ in range(60):
        query = unit(rng, LAYOUT.dim)
        asked = where(choose) if choose.random() < 0.5 else None
        options: dict[str, Any] = {
            "limit": choose.randint(1, 30),
            "offset": choose.choice([0, 0, 5]),
            "modality": choose.choice([None, "image", "audio"]),
            "where": asked,
            "score_threshold": choose.choice([None, None, 0.1]),
            "exact": choose.random() < 0.5,
        }
        answers = {name: index.search("birds", query, **options) for name, index in both.items()}
        facets = {
            name: [
                index.facets("birds", key, limit=200, where=asked) for key in ("modality", "metadata.size")
            ]
            for name, index in both.items()
        }
        reference = answers["memory"]
        for name in both:
            assert [hit.point.id for hit in answers[name]] == [hit.point.id for hit in reference]
            assert [hit.cosine for hit in answers[name]] == pytest.approx(
                [h.cosine for h in reference], abs=1e-5
            )
            assert [hit.point.payload for hit in answers[name]] == [hit.point.payload for hit in reference]
            assert facets[name] == facets["memory"]


@pytest.mark.parametrize("clause", ["must", "must_not", None])
def test_at_least_none_of_some_conditions_is_refused_everywhere(
    both: dict[str, VectorIndex], clause: str | None
) -> None:
    """A server takes it for every point, and local mode for an error."""
    none: dict[str, Any] = {
        "min_should": {"conditions": [{"key": "metadata.colour", "match": {"value": "red"}}], "min_count": 0}
    }
    asked = none if clause is None else {clause: [none]}
    for index in both.values():
        for ask in (index.scroll, index.count):
            with pytest.raises(InvalidFilter, match=r"min_should\.min_count is a whole number from 1"):
                ask("birds", where=asked)


def test_pages_come_in_the_same_order_everywhere(both: dict[str, VectorIndex]) -> None:
    cursors: dict[str, str | None] = dict.fromkeys(both)
    while True:
        pages = {}
        for name, index in both.items():
            points, cursors[name] = index.scroll("birds", limit=17, cursor=cursors[name], with_vectors=True)
            pages[name] = points
        for points in pages.values():
            for point, same in zip(points, pages["memory"], strict=True):
                assert (point.id, point.modality, point.space, point.payload) == (
                    same.id,
                    same.modality,
                    same.space,
                    same.payload,
                )
                np.testing.assert_allclose(point.unified, same.unified, atol=1e-6)
                np.testing.assert_allclose(point.native, same.native, atol=1e-6)
        assert len(set(cursors.values())) == 1
        if cursors["memory"] is None:
            return

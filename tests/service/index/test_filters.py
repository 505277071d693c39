"""Filters are checked before any back end sees them: what is wrong is named with its place."""

from collections.abc import Iterator
from typing import Any, get_args

import pytest
from pydantic import BaseModel
from qdrant_client import models

from service.errors import InvalidFilter
from service.index.field_paths import MAX_TEXT
from service.index.filter_grammar import MAX_CONDITIONS, MAX_DEPTH, MAX_VALUES
from service.index.filters import parse_filter
from service.index.identity import point_uuid

RED = {"key": "metadata.colour", "match": {"value": "red"}}


def nested_filters(depth: int) -> dict[str, Any]:
    """A filter of so many levels."""
    return {"must": [RED if depth == 1 else nested_filters(depth - 1)]}


def parsed(where: dict[str, Any]) -> dict[str, Any]:
    found = parse_filter(where, "birds")
    assert found is not None
    return found.model_dump(exclude_none=True, by_alias=True)


def test_a_filter_comes_out_as_it_went_in() -> None:
    where = {
        "must": [RED, {"key": "metadata.size", "range": {"gte": 1.0, "lt": 5.0}}],
        "must_not": [{"is_empty": {"key": "caption"}}],
        "min_should": {"conditions": [RED], "min_count": 1},
    }
    assert parsed(where) == where
    assert parsed({"must": RED}) == {"must": [RED]}


def test_no_filter_and_the_empty_one_are_none() -> None:
    assert parse_filter(None, "birds") is None
    assert parse_filter({}, "birds") is None


def test_callers_ids_become_qdrants() -> None:
    assert parsed({"must": [{"has_id": ["a", "b"]}]}) == {
        "must": [{"has_id": [point_uuid("birds", "a"), point_uuid("birds", "b")]}]
    }


def test_filters_are_as_deep_and_as_large_as_the_limits() -> None:
    assert parse_filter(nested_filters(MAX_DEPTH), "birds")
    assert parse_filter({"should": [RED] * MAX_CONDITIONS}, "birds")
    assert parse_filter({"must": [{"key": "name", "match": {"any": ["a"] * MAX_VALUES}}]}, "birds")
    assert parse_filter({"must": [{"key": "name", "match": {"value": "a" * MAX_TEXT}}]}, "birds")


@pytest.mark.parametrize(
    ("where", "said"),
    [
        (nested_filters(MAX_DEPTH + 1), "deep"),
        ({"should": [RED] * (MAX_CONDITIONS + 1)}, "256 conditions"),
        ({"must": [{"key": "name", "match": {"any": ["a"] * (MAX_VALUES + 1)}}]}, "4096"),
        ({"must": [{"has_id": ["a"] * 4000}, {"key": "name", "match": {"any": ["a"] * 97}}]}, "4096"),
        ({"must": [{"key": "name", "match": {"value": "a" * (MAX_TEXT + 1)}}]}, "1024"),
        ({"must": [{"key": "metadata." + "a" * MAX_TEXT, "match": {"value": 1}}]}, "path"),
        ({"must": [RED, {"key": "colour", "match": {"value": 1}}]}, r"must\[1\].key.*metadata.colour"),
        ({"must": [{"key": "metadata.a", "match": {"like": 1}}]}, r"must\[0\].match"),
        ({"must": [{"key": "metadata.a", "match": {"value": 1}, "range": {"gt": 1}}]}, "exactly one"),
        ({"must": [{"key": "metadata.a", "range": {"gt": "yesterday"}}]}, r"must\[0\].range"),
        ({"must": [{"key": "metadata.a", "range": {"gt": float("nan")}}]}, "finite"),
        ({"must": [{"key": "metadata.a", "match": {"value": 2**64}}]}, "64 bits"),
        ({"must": [{"key": "metadata.a", "match": {"value": "\ud800"}}]}, "Unicode"),
        (
            {"must": [{"key": "metadata.a", "geo_radius": {"center": {"lon": 999, "lat": 0}, "radius": 1}}]},
            "lon",
        ),
        ({"must": [{"nested": {"key": "metadata.a", "filter": {"must": [{"has_id": ["a"]}]}}}]}, "has_id"),
        ({"must": "x"}, r"filter\.must"),
        ({"must": [{}]}, "empty object"),
        ({"mus": [RED]}, "mus"),
        ({"min_should": {"conditions": [RED], "min_count": True}}, "min_count"),
    ],
)
def test_what_is_wrong_is_named(where: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidFilter, match=said):
        parse_filter(where, "birds")


def field(**test: Any) -> dict[str, Any]:
    """A filter of one condition on a field."""
    return {"must": [{"key": "metadata.a", **test}]}


def near(lon: Any = 1, lat: Any = 2, radius: Any = 3) -> dict[str, Any]:
    return field(geo_radius={"center": {"lon": lon, "lat": lat}, "radius": radius})


@pytest.mark.parametrize(
    ("where", "said"),
    [
        (field(match={"value": 1.0}), r"must\[0\]\.match\.value is a string, a whole number, true or false"),
        (field(match={"any": ["a", 1]}), r"match\.any is a list of strings or a list of whole numbers"),
        (field(match={"any": [True]}), r"match\.any is a list of strings"),
        (field(range={"gt": True}), r"range\.gt is a number"),
        (field(range={"gt": "nan"}), r"range\.gt: 'nan' is no date"),
        (field(range={"gt": "2026-05-03", "lt": 5}), r"must\[0\]\.range"),
        (field(range={}), r"must\[0\]\.range is an object with lt"),
        (field(values_count={"gt": "5"}), r"values_count\.gt is a whole number"),
        (field(values_count={"gt": 2.0}), r"values_count\.gt is a whole number"),
        (field(values_count={"gt": True}), r"values_count\.gt is a whole number"),
        (field(is_empty="true"), r"is_empty is true or false"),
        (field(is_null=1), r"is_null is true or false"),
        (near(lon="5"), r"geo_radius\.center\.lon is a number"),
        (near(radius="nan"), r"geo_radius\.radius is a number"),
        (near(radius=True), r"geo_radius\.radius is a number"),
        ({"min_should": {"conditions": [RED], "min_count": "1"}}, r"min_should\.min_count is a whole number"),
        ({"min_should": {"conditions": [RED], "min_count": 1.0}}, r"min_should\.min_count is a whole number"),
        ({"min_should": {"conditions": [RED], "min_count": 0}}, r"min_should\.min_count is a whole number"),
        ({"min_should": {"conditions": [RED], "min_count": -1}}, r"min_should\.min_count is a whole number"),
        ({"must": [{"has_id": [1]}]}, r"has_id\[0\]: a point's id is a string"),
    ],
)
def test_nothing_is_taken_for_what_it_is_not(where: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidFilter, match=said):
        parse_filter(where, "birds")


@pytest.mark.parametrize(
    ("where", "said"),
    [
        (
            field(match={"value": 1}, colour=None),
            r"filter\.must\[0\]: unknown key 'colour'; this is a condition",
        ),
        (field(match={"value": 1, "any": [1]}), r"filter\.must\[0\]\.match: unknown key 'any'"),
        (field(match={}), r"filter\.must\[0\]\.match is an object with one of any, except, text, value"),
        (field(), r"filter\.must\[0\]: beside 'key' stands exactly one of"),
        ({"must": [RED, {"colour": "red"}]}, r"filter\.must\[1\]: unknown key 'colour'; this is a condition"),
        ({"must": [RED, "red"]}, r"filter\.must\[1\] is a condition"),
        (
            {"must": {"must": RED, "must_not": [{"is_null": {}}]}},
            r"filter\.must\.must_not\[0\]\.is_null: 'key'",
        ),
        ({"must": [{"nested": {"key": "metadata.a"}}]}, r"must\[0\]\.nested: 'filter' is missing"),
        (
            {"must": [{"nested": {"key": "metadata.a", "filter": {"should": [{"key": "b", "match": "c"}]}}}]},
            r"filter\.must\[0\]\.nested\.filter\.should\[0\]\.match is an object",
        ),
        (
            {"must": [{"nested": {"key": "metadata.a", "filter": {"must": [{"nested": {}}]}}}]},
            r"nested\.filter\.must\[0\]\.nested: 'key' is missing",
        ),
        (
            {"min_should": {"conditions": RED, "min_count": 1}},
            r"min_should\.conditions is a list of conditions",
        ),
        ({"min_should": {"conditions": [RED]}}, r"filter\.min_should: 'min_count' is missing"),
        (
            field(geo_polygon={"exterior": {"points": [{"lon": 1}]}}),
            r"exterior\.points\[0\]: 'lat' is missing",
        ),
        (field(geo_polygon={"exterior": {"points": []}}), "at least four points"),
        ({"must": [{"Filter": 1}]}, r"filter\.must\[0\]: unknown key 'Filter'"),
        ({"must": [{"has_id": ["a", ""]}]}, r"filter\.must\[0\]\.has_id\[1\]: a point's id"),
        ({"must": [{"\ud800": 1}]}, r"filter\.must\[0\]: .*Unicode"),
        ({"must": [{f"key {i}": 1 for i in range(50)}]}, "at most .* keys"),
        ({"must": [{"must": {1: 2}}]}, "strings"),
        (field(match={"any": ("a", "b")}), "tuple"),
        (["must"], "filter is a JSON object"),
    ],
)
def test_the_place_is_named_in_the_callers_terms(where: Any, said: str) -> None:
    with pytest.raises(InvalidFilter, match=said) as told:
        parse_filter(where, "birds")
    assert "Condition" not in told.value.message, "it tells of Qdrant's classes"
    assert "\n" not in told.value.message


@pytest.mark.parametrize(
    "condition",
    [
        {"has_vector": "unified"},
        {"slice": {"total": 2, "index": 0}},
        {"key": "name", "match": {"phrase": "a b"}},
        {"key": "name", "match": {"text_any": "a b"}},
        {"key": "name", "match": {"prefix": "a"}},
    ],
)
def test_what_not_every_back_end_answers_alike_is_refused(condition: dict[str, Any]) -> None:
    with pytest.raises(InvalidFilter, match=r"filter\.must\[0\]"):
        parse_filter({"must": [condition]}, "birds")


def test_what_is_accepted_keeps_its_meaning() -> None:
    dates = parse_filter(
        field(range={"gte": "2026-05-03", "lt": "2026-05-04T00:00:00Z", "gt": None}), "birds"
    )
    assert dates is not None
    assert dates.model_dump(mode="json", exclude_none=True)["must"][0]["range"] == {
        "gte": "2026-05-03T00:00:00",
        "lt": "2026-05-04T00:00:00Z",
    }
    upper = "8C2C6C0E-6F0C-5BD5-9D1C-3A6D5F6C1A5E"
    assert parsed({"must": {"has_id": [upper]}}) == {"must": [{"has_id": [point_uuid("birds", upper)]}]}
    for value in (True, 1, "true", "5", "2026-05-03"):
        [found] = parsed(field(match={"value": value}))["must"]
        assert found["match"]["value"] is value
    assert parsed({"min_should": {"conditions": [], "min_count": 1}})["min_should"]["min_count"] == 1
    assert parsed(field(match={"value": 1}, range=None, is_empty=None)) == field(match={"value": 1})
    assert parse_filter({"must": None}, "birds") is None
    assert parsed({"must": []}) == {"must": []}


def test_the_deepest_filter_is_read_and_the_callers_is_left_as_it_was() -> None:
    ring = {"points": [{"lon": x, "lat": y} for x, y in ((0, 0), (1, 0), (1, 1), (0, 0))]}
    polygon = field(geo_polygon={"exterior": ring, "interiors": [ring]})["must"][0]
    where: dict[str, Any] = {"min_should": {"conditions": [polygon], "min_count": 1}}
    where = {"must": [{"nested": {"key": "metadata.a", "filter": where}}, {"has_id": ["a"]}]}
    for _ in range(MAX_DEPTH - 2):
        where = {"min_should": {"conditions": [where], "min_count": 1}}
    before = repr(where)
    assert parse_filter(where, "birds")
    assert repr(where) == before
    deep: dict[str, Any] = {}
    for _ in range(5000):
        deep = {"must": deep}
    with pytest.raises(InvalidFilter, match="deep"):
        parse_filter(deep, "birds")


def grammar(kind: Any, seen: set[type[BaseModel]]) -> Iterator[type[BaseModel]]:
    """Yield every model that a part of Qdrant's grammar is made of."""
    if isinstance(kind, type) and issubclass(kind, BaseModel) and kind not in seen:
        seen.add(kind)
        yield kind
        for each in kind.model_fields.values():
            yield from grammar(each.annotation, seen)
    for inner in get_args(kind):
        yield from grammar(inner, seen)


def test_no_model_of_the_grammar_ignores_what_it_does_not_know() -> None:
    found = list(grammar(models.Filter, set()))
    assert {models.MinShould, models.MatchExcept, models.GeoPoint, models.PayloadField} <= set(found)
    assert [kind.__name__ for kind in found if kind.model_config.get("extra") != "forbid"] == []

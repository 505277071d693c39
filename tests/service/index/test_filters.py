"""Filters are checked before any back end sees them: what is wrong is named with its place."""

from typing import Any

import pytest

from service.errors import InvalidFilter
from service.index.filters import MAX_CONDITIONS, MAX_DEPTH, MAX_TEXT, MAX_VALUES, parse_filter
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

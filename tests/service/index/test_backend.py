"""Which filters are of several conditions, so that a graph needs help with them."""

import pytest

from service.index.backend import combines
from service.index.filters import parse_filter, with_modality

RED = {"key": "metadata.colour", "match": {"value": "red"}}


@pytest.mark.parametrize("where", [{"must": [RED]}, {"should": RED}, {"must_not": [RED]}])
def test_one_condition_on_one_field_is_not_a_combination(where: dict[str, object]) -> None:
    assert not combines(parse_filter(where, "birds"))
    assert combines(with_modality(parse_filter(where, "birds"), "image"))


def test_a_modality_alone_is_not_either() -> None:
    assert not combines(None)
    assert not combines(with_modality(None, "image"))


@pytest.mark.parametrize(
    "where",
    [
        {"must": [RED, RED]},
        {"must": [RED], "must_not": [RED]},
        {"must": [{"should": [RED, RED]}]},
        {"min_should": {"conditions": [RED, RED], "min_count": 1}},
        {"must": [{"has_id": ["a"]}]},
    ],
)
def test_several_are(where: dict[str, object]) -> None:
    assert combines(parse_filter(where, "birds"))

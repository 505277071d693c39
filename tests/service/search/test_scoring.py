"""The arithmetic of search, on vectors and hits made by hand."""

import numpy as np
import pytest
from hits import hit, names

from service.errors import InvalidRequest
from service.search.scoring import QueryPart, best_of_each, combine, explain, merge, within_quota


def part(vector: list[float], weight: float = 1.0) -> QueryPart:
    unit = np.asarray(vector, dtype=np.float32)
    return QueryPart(unit / np.linalg.norm(unit), weight, "text")


def test_parts_combine_as_their_weighted_sum() -> None:
    combined = combine([part([1, 0]), part([0, 1], -0.5)])
    np.testing.assert_allclose(combined, np.array([1, -0.5]) / np.hypot(1, 0.5), atol=1e-6)
    with pytest.raises(InvalidRequest, match="cancel"):
        combine([part([1, 0]), part([1, 0], -1)])


def test_the_shares_of_the_parts_add_up_to_the_cosine() -> None:
    rng = np.random.default_rng(0)
    parts = [part(list(rng.standard_normal(8)), weight) for weight in (1.0, 0.5, -0.7)]
    vector = part(list(rng.standard_normal(8))).vector
    shares = explain(parts, vector)
    assert sum(share.share for share in shares) == pytest.approx(float(combine(parts) @ vector), abs=1e-6)
    assert [share.cosine for share in shares] == pytest.approx([float(p.vector @ vector) for p in parts])
    assert shares[2].share * shares[2].cosine < 0, "a part that repels takes where it is near"
    assert [(share.index, share.modality, share.weight) for share in shares] == [
        (0, "text", 1.0),
        (1, "text", 0.5),
        (2, "text", -0.7),
    ]


def test_hits_are_merged_by_score_and_ties_by_id() -> None:
    assert names(merge([hit("b", 0.5), hit("c", 0.9), hit("a", 0.5)])) == ["c", "a", "b"]


def test_a_quota_is_for_every_modality_or_for_those_it_names() -> None:
    ranked = [
        hit("i1", 0.9),
        hit("i2", 0.8),
        hit("t1", 0.7, "text"),
        hit("i3", 0.6),
        hit("t2", 0.5, "text"),
        hit("a1", 0.4, "audio"),
    ]
    assert names(within_quota(ranked, None)) == names(ranked)
    assert names(within_quota(ranked, 1)) == ["i1", "t1", "a1"]
    assert names(within_quota(ranked, {"image": 2, "audio": 5})) == ["i1", "i2", "t1", "t2", "a1"]


def test_every_group_has_its_first_hit_and_keeps_its_value() -> None:
    ranked = [
        hit("a", 0.9, album=1),
        hit("b", 0.8, album=2),
        hit("c", 0.7, album=1),
        hit("d", 0.6),
        hit("e", 0.5, album="1"),
        hit("f", 0.4, album=[1]),
    ]
    groups = best_of_each(ranked, "metadata.album")
    assert [(each.hit.point.id, each.group) for each in groups] == [
        ("a", 1),
        ("b", 2),
        ("e", "1"),
        ("f", [1]),
    ]
    spaced = [hit("g", 0.9, **{"two words.": 1}), hit("h", 0.8, **{"two words.": 1})]
    assert names(best_of_each(spaced, 'metadata."two words."')) == ["g"], "as a filter writes it"

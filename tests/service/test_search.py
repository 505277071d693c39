"""What is certain of a ranking of which only the beginning was fetched."""

from typing import Any

from hits import hit, names

from service.bodies import SearchParams
from service.search import select

IMAGES = [hit(f"i{n}", 0.9 - n / 10, vector=(1, n)) for n in range(4)]
TEXTS = [hit(f"t{n}", 0.45 - n / 10, "text", vector=(1, n)) for n in range(2)]


def chosen(depth: int, **params: Any) -> tuple[list[str], bool]:
    found, complete = select([IMAGES[:depth], TEXTS[:depth]], depth, SearchParams(**params))
    return names(found), complete


def test_nothing_that_was_fetched_comes_before_what_was_not() -> None:
    # The images go on below 0.6, so the text at 0.45 may not be the next.
    assert chosen(4, limit=9) == (["i0", "i1", "i2", "i3"], False)
    assert chosen(5, limit=9) == (["i0", "i1", "i2", "i3", "t0", "t1"], True)


def test_a_modality_whose_quota_is_full_holds_up_nothing() -> None:
    assert chosen(2, quota={"image": 2, "text": 2}) == (["i0", "i1", "t0", "t1"], True)
    assert chosen(1, quota={"image": 2, "text": 2}) == (["i0"], False)


def test_what_scores_too_low_is_not_waited_for() -> None:
    assert chosen(4, score_threshold=0.75) == (["i0", "i1"], True)


def test_duplicates_go_before_groups_and_quotas_count() -> None:
    same = [hit("a", 0.9, album=1), hit("b", 0.8, album=2), hit("c", 0.7, vector=(0, 1), album=1)]
    params = SearchParams(dedupe=0.99, group_by="metadata.album")
    assert names(select([same], 9, params)[0]) == ["a"]
    assert names(select([same], 9, SearchParams(dedupe=0.99, quota=2))[0]) == ["a", "c"]
    assert names(select([same], 9, SearchParams(group_by="metadata.album", quota=2))[0]) == ["a", "b"]

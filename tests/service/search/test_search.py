"""What is certain of a ranking of which only the beginning was fetched, and who waits while it is made."""

import asyncio
import threading
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import pytest
from hits import hit, names
from waiting import PATIENCE

from service.index.protocol import Point
from service.runtime import Runtime
from service.schemas.requests import SearchParams
from service.search.diversity import diversified, without_duplicates
from service.search.scoring import QueryPart, Ranked
from service.search.search import search, select
from service.settings import Settings
from service.timings import Timings

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


def test_a_hit_that_scores_like_the_last_fetched_is_certain_if_it_comes_first_by_id() -> None:
    images = [hit("d", 0.9), hit("f", 0.5)]
    texts = [hit("e", 0.5, "text"), hit("g", 0.5, "text")]
    assert names(select([images, texts], 2, SearchParams())[0]) == ["d", "e", "f"]


def test_a_modality_whose_quota_is_full_may_still_have_the_best_of_a_group() -> None:
    first = [hit("i", 0.9, album=1)], [hit("t", 0.5, "text", album=2)]
    params = SearchParams(group_by="metadata.album", quota=1)
    found, complete = select(first, 1, params)
    assert (names(found), complete) == (["i"], False)
    found, complete = select([[*first[0], hit("j", 0.8, album=2)], first[1]], 3, params)
    assert (names(found), complete) == (["i"], True)


def test_what_scores_too_low_is_not_waited_for() -> None:
    assert chosen(4, score_threshold=0.75) == (["i0", "i1"], True)


def test_duplicates_go_before_groups_and_quotas_count() -> None:
    same = [hit("a", 0.9, album=1), hit("b", 0.8, album=2), hit("c", 0.7, vector=(0, 1), album=1)]
    params = SearchParams(dedupe=0.99, group_by="metadata.album")
    assert names(select([same], 9, params)[0]) == ["a"]
    assert names(select([same], 9, SearchParams(dedupe=0.99, quota=2))[0]) == ["a", "c"]
    assert names(select([same], 9, SearchParams(group_by="metadata.album", quota=2))[0]) == ["a", "b"]


def test_the_event_loop_goes_on_while_hits_are_chosen(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn = threading.Event()

    def once_the_loop_goes_on(function: Callable[..., list[Ranked]]) -> Callable[..., list[Ranked]]:
        @wraps(function)
        def waiting(*arguments: Any) -> list[Ranked]:
            turn.clear()
            loop.call_soon_threadsafe(turn.set)
            assert turn.wait(PATIENCE), f"{function.__name__} holds the event loop up"
            return function(*arguments)

        return waiting

    async def scenario() -> list[Ranked]:
        nonlocal loop
        loop = asyncio.get_running_loop()
        runtime = Runtime(Settings(bundle=str(tiny_bundle), data_dir=tmp_path, index="local"))
        try:
            await runtime.load()
            pipeline = runtime.pipeline
            space, params = pipeline.space, SearchParams(dedupe=0.98, diversity=0.3)
            native = space.encode("text", ["a", "b", "a"])
            unified = space.project("text", native).numpy()
            points = [Point(f"{i}", "text", "clip", unified[i], native[i].numpy()) for i in range(3)]
            pipeline.index.upsert("default", points)
            query = [QueryPart(unified[0], 1.0, "text")]
            return await search(pipeline, Timings(), space, query, params)
        finally:
            runtime.drain()
            await runtime.close()

    loop: asyncio.AbstractEventLoop
    for function in (without_duplicates, diversified):
        monkeypatch.setattr(f"service.search.search.{function.__name__}", once_the_loop_goes_on(function))
    assert names(asyncio.run(scenario())) == ["0", "1"]

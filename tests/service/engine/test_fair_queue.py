"""Every flow has its turn."""

import pytest

from service.engine.fair_queue import FairQueue


def filled(*pairs: tuple[str, str]) -> FairQueue[str]:
    queue: FairQueue[str] = FairQueue()
    for flow, item in pairs:
        queue.push(flow, item)
    return queue


BIG_AND_SMALL = (
    ("big", "b1"),
    ("big", "b2"),
    ("big", "b3"),
    ("small", "s1"),
    ("other", "o1"),
    ("other", "o2"),
)


def test_flows_take_turns_and_keep_their_order() -> None:
    queue = filled(*BIG_AND_SMALL)
    assert [queue.pop() for _ in range(len(queue))] == ["b1", "s1", "o1", "b2", "o2", "b3"]
    with pytest.raises(IndexError):
        queue.pop()


def test_looking_shows_what_popping_gives() -> None:
    queue = filled(*BIG_AND_SMALL)
    shown = [item for _, item in queue.in_turn()]
    assert shown == [queue.pop() for _ in range(len(queue))]


def test_what_is_removed_is_gone_and_its_flow_goes_last() -> None:
    queue = filled(*BIG_AND_SMALL)
    turns = list(queue.in_turn())
    queue.remove(turns[:2])
    assert len(queue) == 4
    assert [queue.pop() for _ in range(4)] == ["o1", "b2", "o2", "b3"]


def test_what_is_discarded_is_gone_and_its_flow_keeps_its_turn() -> None:
    queue = filled(*BIG_AND_SMALL)
    queue.discard("big", "b2")
    queue.discard("small", "s1")
    queue.discard("small", "s1")  # it is not here any more
    assert [queue.pop() for _ in range(len(queue))] == ["b1", "o1", "b3", "o2"]

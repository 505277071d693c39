"""A queue in which every request has its turn.

Keeps items under the request (*flow*) they came with and hands them out one flow after the other, so that a
request of one item waits behind one item of each other request, not behind all two thousand of one.
"""

from collections import OrderedDict, deque
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """Round robin over flows, first in first out within one. Not thread-safe: its owner holds the lock."""

    def __init__(self) -> None:
        self._flows: OrderedDict[Hashable, deque[T]] = OrderedDict()
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def __contains__(self, flow: Hashable) -> bool:
        return flow in self._flows

    def push(self, flow: Hashable, item: T) -> None:
        """Add an item at the end of its flow; a new flow comes after those waiting."""
        self._flows.setdefault(flow, deque()).append(item)
        self._size += 1

    def pop(self) -> T:
        """Take the next item. Raises `IndexError` if there is none."""
        if not self._flows:
            raise IndexError("the queue is empty")
        flow, items = next(iter(self._flows.items()))
        item = items.popleft()
        self._size -= 1
        if items:
            self._flows.move_to_end(flow)
        else:
            del self._flows[flow]
        return item

    def in_turn(self) -> Iterator[tuple[Hashable, T]]:
        """Yield every item with its flow, in the order of `pop`."""
        rounds = [(flow, iter(list(items))) for flow, items in self._flows.items()]
        while rounds:
            remaining = []
            for flow, items in rounds:
                for item in items:
                    yield flow, item
                    remaining.append((flow, items))
                    break
            rounds = remaining

    def discard(self, flow: Hashable, item: T) -> None:
        """Take out an item if it is still here; its flow keeps its turn."""
        items = self._flows.get(flow, deque())
        if item in items:
            items.remove(item)
            self._size -= 1
            if not items:
                del self._flows[flow]

    def remove(self, chosen: list[tuple[Hashable, T]]) -> None:
        """Take out items that `in_turn` yielded; their flows go to the back of the line."""
        by_flow: dict[Hashable, set[int]] = {}
        for flow, item in chosen:
            by_flow.setdefault(flow, set()).add(id(item))
        for flow, ids in by_flow.items():
            kept = deque(item for item in self._flows[flow] if id(item) not in ids)
            self._size -= len(self._flows[flow]) - len(kept)
            if kept:
                self._flows[flow] = kept
                self._flows.move_to_end(flow)
            else:
                del self._flows[flow]

"""Admission control: a budget of items and bytes for each encoder's queue, and an honest refusal past it.

Holds `Admission` and `Reservation`. A request reserves its items' share of the budget before any is decoded,
in the queue of the encoder that will embed them, and gives it back as they are done. Past the budget it is
refused, with the time until the queue can take it at the throughput measured.
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from service.errors import Overloaded

ESTIMATE_SECONDS = 5.0
"""Seconds that the throughput estimate remembers."""
KNOWN = 1.2
"""Completions remembered before the rate counts as known: one slow file says nothing of the next."""
LONGEST_RETRY = 120
SMALL = 32
"""Most items of a small request."""
KEPT = 8
"""One in so many places of a queue is kept for small requests."""


@dataclass(slots=True)
class ThroughputEstimate:
    """The rate at which things are done: recent seconds `busy` with them, and how many were `done`."""

    busy: float = 0.0
    done: float = 0.0
    last: float = 0.0

    @property
    def seconds(self) -> float:
        """Measured seconds for each, 0 while not known."""
        return self.busy / self.done if self.done >= KNOWN else 0.0

    def begin(self, now: float) -> None:
        """Start the clock after idle time: the longer that was, the less of the rate is remembered."""
        self._forget(now - self.last)
        self.last = now

    def complete(self, now: float) -> None:
        """Count one as done; those of a batch come together and share the time since the batch before."""
        passed = now - self.last
        self._forget(min(passed, ESTIMATE_SECONDS))
        self.busy += passed
        self.done += 1
        self.last = now

    def _forget(self, passed: float) -> None:
        kept = math.exp(-passed / ESTIMATE_SECONDS)
        self.busy *= kept
        self.done *= kept


@dataclass(slots=True)
class QueueBudget:
    """The items admitted for one encoder that have not left yet, and the rate at which they leave.

    Many items never reach the encoder: they are known, or bad. So those `encoding`, which wait for it or
    are in it, have a rate of their own: it would be too slow for the others, and theirs too fast for it.
    """

    items: int = 0
    small: int = 0
    bytes: int = 0
    encoding: int = 0
    leaving: ThroughputEstimate = field(default_factory=ThroughputEstimate)
    encoder: ThroughputEstimate = field(default_factory=ThroughputEstimate)

    def wait(self, more: int = 0) -> float:
        """Return the seconds until all items are done, and so many `more`."""
        others = self.items - self.encoding + more
        return self.encoding * self.encoder.seconds + others * self.leaving.seconds


class Admission:
    """Queue budgets by name, each bounded by items and by bytes. Used from the event loop only."""

    def __init__(
        self, max_items: int, max_bytes: int, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._clock = clock
        self.queues: dict[str, QueueBudget] = {}

    def enter(self, items: Sequence[tuple[str, int]], seconds_left: float) -> "Reservation":
        """Return a reservation for all items, given as (queue, bytes), or raise `Overloaded`.

        A queue is full where its bounds would be passed, or where at its rate the items could not be done
        within `seconds_left`. An empty queue takes any request, however large; one less than half full takes
        any number of items, and small requests have places of their own beside those of large ones.
        """
        wanted = Counter(queue for queue, _ in items)
        weight: Counter[str] = Counter()
        for name, size in items:
            weight[name] += size
        for name, count in wanted.items():
            queue = self.queues.setdefault(name, QueueBudget())
            if refused := self._refused(name, queue, count, weight[name], seconds_left):
                raise refused
        for name, count in wanted.items():
            queue = self.queues[name]
            if not queue.items:
                queue.leaving.begin(self._clock())
            queue.items += count
            queue.small += count if count <= SMALL else 0
            queue.bytes += weight[name]
        return Reservation(self, [(name, size, wanted[name] <= SMALL) for name, size in items])

    def full(self, seconds_left: float) -> bool:
        """Return whether some queue cannot take one more item and finish it within `seconds_left`."""
        return any(self.refusal(name, seconds_left) for name in self.queues)

    def refusal(self, name: str, seconds_left: float) -> Overloaded | None:
        """Return what `enter` would raise for one more item in a queue, of one byte, or None."""
        queue = self.queues.get(name)
        return None if queue is None else self._refused(name, queue, 1, 1, seconds_left)

    def begin(self, name: str) -> None:
        """Count an item as having reached the encoder."""
        queue = self.queues[name]
        if not queue.encoding:
            queue.encoder.begin(self._clock())
        queue.encoding += 1

    def leave(self, name: str, size: int, small: bool, *, begun: bool, done: bool) -> None:
        """Give back the reservation of one item, of a `small` request or a large one.

        `begun` if it reached the encoder; `done` unless it was given up, which says nothing of the rate.
        """
        queue, now = self.queues[name], self._clock()
        queue.items -= 1
        queue.small -= small
        queue.bytes -= size
        queue.encoding -= begun
        if done:
            queue.leaving.complete(now)
        if done and begun:
            queue.encoder.complete(now)

    def _refused(
        self, name: str, queue: QueueBudget, count: int, size: int, seconds_left: float
    ) -> Overloaded | None:
        """Return why a queue cannot take `count` items of `size` bytes in total, or None where it can."""
        if not queue.items:
            return None
        over_items = self._over_items(queue, count)
        over_bytes = queue.bytes + size - self._max_bytes
        late = queue.wait(count) - seconds_left
        if over_items > 0 or over_bytes > 0 or late > 0:
            return self._overloaded(name, queue, over_items, over_bytes, late)
        return None

    def _over_items(self, queue: QueueBudget, count: int) -> int:
        """Return how many items must leave a queue before it takes a request's `count`; below 1: none."""
        kept = self._max_items // KEPT
        over = [queue.items + 1 - self._max_items // 2]
        if count <= SMALL:
            over += [queue.items + count - self._max_items, queue.small + count - kept]
        else:
            over += [queue.items + count - (self._max_items - kept)]
        return min(over)

    def _overloaded(
        self, name: str, queue: QueueBudget, over_items: int, over_bytes: int, late: float
    ) -> Overloaded:
        share = over_bytes / max(queue.bytes, 1) * queue.items
        seconds = max(max(over_items, share) * queue.wait() / queue.items, late)
        retry = min(max(1, math.ceil(seconds)), LONGEST_RETRY)
        return Overloaded(
            f"the {name} queue is full: {queue.items} items and {queue.bytes:,} bytes are waiting; "
            f"try again in {retry} s",
            retry,
        )


class Reservation:
    """One request's reservation, item by item. Leaving its block gives back the rest."""

    def __init__(self, admission: Admission, items: Sequence[tuple[str, int, bool]]) -> None:
        self._admission = admission
        self._reserved = dict(enumerate(items))
        self._begun: set[int] = set()

    def __enter__(self) -> "Reservation":
        return self

    def __exit__(self, *error: object) -> None:
        for index in list(self._reserved):
            self.leave(index, False)

    def begin(self, index: int) -> None:
        """Count an item, not given back yet, as having reached the encoder."""
        self._begun.add(index)
        self._admission.begin(self._reserved[index][0])

    def leave(self, index: int, done: bool) -> None:
        """Give back the reservation of one item, once; `done` as for `Admission.leave`."""
        if (place := self._reserved.pop(index, None)) is not None:
            self._admission.leave(*place, begun=index in self._begun, done=done)

"""Who may come in: the bound on what each encoder has waiting, and the honest answer past it.

Holds `Admission` and `Room`. A request reserves room for all its items before any is decoded, in the lane of
the encoder that will embed them, and gives it back as they are done; past a bound it is turned away with the
time the lane needs, at the pace measured, to be empty enough.
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from service.errors import Overloaded

PACE_SECONDS = 5.0
"""Seconds that the measured pace remembers."""
KNOWN = 1.2
"""Completions remembered from which on the pace is known: one slow file tells nothing of the next."""
LONGEST_RETRY = 120
SMALL = 32
"""Most items of a small request."""
KEPT = 8
"""Of so many places of a lane one is kept for small requests."""


@dataclass(slots=True)
class Pace:
    """How fast things are done: lately, the seconds `busy` with them and how many are `done`."""

    busy: float = 0.0
    done: float = 0.0
    last: float = 0.0

    @property
    def seconds(self) -> float:
        """Measured seconds for each, 0 while that is not known."""
        return self.busy / self.done if self.done >= KNOWN else 0.0

    def begin(self, now: float) -> None:
        """Something is to be done after nothing was: the longer ago, the less of the pace is remembered."""
        self._forget(now - self.last)
        self.last = now

    def complete(self, now: float) -> None:
        """Count one as done: those of a batch come at once and share the time since the batch before."""
        passed = now - self.last
        self._forget(min(passed, PACE_SECONDS))
        self.busy += passed
        self.done += 1
        self.last = now

    def _forget(self, passed: float) -> None:
        kept = math.exp(-passed / PACE_SECONDS)
        self.busy *= kept
        self.done *= kept


@dataclass(slots=True)
class Lane:
    """What was admitted for one encoder and has not left yet, and how fast that goes.

    Many an item never comes to the encoder: it is known, or bad. So those `encoding`, which wait for it or
    are in it, have a pace of their own: it would be too slow for the others, and theirs too fast for it.
    """

    items: int = 0
    small: int = 0
    bytes: int = 0
    encoding: int = 0
    leaving: Pace = field(default_factory=Pace)
    encoder: Pace = field(default_factory=Pace)

    def wait(self, more: int = 0) -> float:
        """Seconds until all is done, and so many items more."""
        others = self.items - self.encoding + more
        return self.encoding * self.encoder.seconds + others * self.leaving.seconds


class Admission:
    """Lanes by name, each bounded by items and by bytes. Used from the event loop only."""

    def __init__(
        self, max_items: int, max_bytes: int, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._clock = clock
        self.lanes: dict[str, Lane] = {}

    def enter(self, items: Sequence[tuple[str, int]], seconds_left: float) -> "Room":
        """Reserve room for items given as (lane, bytes): for all of them, or raise `Overloaded`.

        A lane is full where its bounds would be passed, or where at its pace the items could not be done
        within `seconds_left`. An empty lane takes any request, however large; one that is less than half full
        takes any number of items, and a few are let in however many items of large requests there are.
        """
        wanted = Counter(lane for lane, _ in items)
        weight: Counter[str] = Counter()
        for name, size in items:
            weight[name] += size
        for name, count in wanted.items():
            lane = self.lanes.setdefault(name, Lane())
            if refused := self._refused(name, lane, count, weight[name], seconds_left):
                raise refused
        for name, count in wanted.items():
            lane = self.lanes[name]
            if not lane.items:
                lane.leaving.begin(self._clock())
            lane.items += count
            lane.small += count if count <= SMALL else 0
            lane.bytes += weight[name]
        return Room(self, [(name, size, wanted[name] <= SMALL) for name, size in items])

    def full(self, seconds_left: float) -> bool:
        """Whether some lane takes not one item more that is to be done within `seconds_left`."""
        return any(self.refusal(name, seconds_left) for name in self.lanes)

    def refusal(self, name: str, seconds_left: float) -> Overloaded | None:
        """What `enter` would raise for one more item in a lane, the smallest there is."""
        lane = self.lanes.get(name)
        return None if lane is None else self._refused(name, lane, 1, 1, seconds_left)

    def begin(self, name: str) -> None:
        """An item comes to the encoder."""
        lane = self.lanes[name]
        if not lane.encoding:
            lane.encoder.begin(self._clock())
        lane.encoding += 1

    def leave(self, name: str, size: int, small: bool, *, begun: bool, done: bool) -> None:
        """Give back the room of one item, of a `small` request or a large one.

        `begun` if it came to the encoder; `done` unless it was given up, which tells nothing of the pace.
        """
        lane, now = self.lanes[name], self._clock()
        lane.items -= 1
        lane.small -= small
        lane.bytes -= size
        lane.encoding -= begun
        if done:
            lane.leaving.complete(now)
        if done and begun:
            lane.encoder.complete(now)

    def _refused(
        self, name: str, lane: Lane, count: int, size: int, seconds_left: float
    ) -> Overloaded | None:
        """Why a lane cannot take `count` items of `size` bytes together, or None where it can."""
        if not lane.items:
            return None
        over_items = self._over_items(lane, count)
        over_bytes = lane.bytes + size - self._max_bytes
        late = lane.wait(count) - seconds_left
        if over_items > 0 or over_bytes > 0 or late > 0:
            return self._overloaded(name, lane, over_items, over_bytes, late)
        return None

    def _over_items(self, lane: Lane, count: int) -> int:
        """How many items must leave a lane before it takes a request's `count`; below 1: none."""
        kept = self._max_items // KEPT
        over = [lane.items + 1 - self._max_items // 2]
        if count <= SMALL:
            over += [lane.items + count - self._max_items, lane.small + count - kept]
        else:
            over += [lane.items + count - (self._max_items - kept)]
        return min(over)

    def _overloaded(self, name: str, lane: Lane, over_items: int, over_bytes: int, late: float) -> Overloaded:
        share = over_bytes / max(lane.bytes, 1) * lane.items
        seconds = max(max(over_items, share) * lane.wait() / lane.items, late)
        retry = min(max(1, math.ceil(seconds)), LONGEST_RETRY)
        return Overloaded(
            f"the {name} queue is full: {lane.items} items and {lane.bytes:,} bytes are waiting; "
            f"try again in {retry} s",
            retry,
        )


class Room:
    """What one request has reserved, item by item. Leaving its block gives back what still is."""

    def __init__(self, admission: Admission, items: Sequence[tuple[str, int, bool]]) -> None:
        self._admission = admission
        self._inside = dict(enumerate(items))
        self._begun: set[int] = set()

    def __enter__(self) -> "Room":
        return self

    def __exit__(self, *error: object) -> None:
        for index in list(self._inside):
            self.leave(index, False)

    def begin(self, index: int) -> None:
        """An item, which is still inside, comes to the encoder."""
        self._begun.add(index)
        self._admission.begin(self._inside[index][0])

    def leave(self, index: int, done: bool) -> None:
        """Give back the room of one item, once; `done` as for `Admission.leave`."""
        if (place := self._inside.pop(index, None)) is not None:
            self._admission.leave(*place, begun=index in self._begun, done=done)

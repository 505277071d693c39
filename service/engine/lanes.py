"""How batches share the processor's cores: a small one has all of them, several large ones a lane each.

A batch on all cores is done soonest, but its threads wait for one another at every step, and longest where
the event loop needs the cores too: two batches, each on half of them, are more work in the same time (of
short texts 16 %, of pictures 6 %) if they are large. So a large encoder computes on all cores until enough
waits for a good batch on every lane, and on lanes until none runs any more. A small one, to which a second
core is no help, always computes on a lane.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from service.engine.compute import ComputeThread

T = TypeVar("T")

Lane = int
"""Which lane a batch has, or `WHOLE`."""
WHOLE: Lane = -1
LANE_ITEMS = 8
"""Items that make a good batch on one lane."""


@dataclass(frozen=True, slots=True)
class Grant:
    """A lane, and among how many free ones, itself included, the items that wait are to be shared.

    `alone`: no other batch runs beside it, and none waited behind it when it was granted.
    """

    lane: Lane
    among: int
    alone: bool


@dataclass(slots=True, eq=False)
class _Turn:
    """Who waits for a lane."""

    waiting: Callable[[], int]
    small: bool
    granted: Future[Grant] = field(default_factory=Future)


class Lanes:
    """Threads to compute on: a lane each, and `whole`, which has the cores of all, if batches may have them.

    Whoever asks first has a lane first. Close it when done.
    """

    def __init__(self, lanes: Sequence[ComputeThread], whole: ComputeThread | None = None) -> None:
        self._threads = dict(enumerate(lanes))
        self._free = list(reversed(self._threads))
        self._has_whole = whole is not None
        if whole is not None:
            self._threads[WHOLE] = whole
        self._lanes = len(lanes)
        self._lock = threading.Lock()
        self._turns: deque[_Turn] = deque()
        self._whole_runs = False

    def run(self, function: Callable[[Grant], T], waiting: Callable[[], int], *, small: bool = False) -> T:
        """Run a function on a lane, or on the whole, and wait for it; raises what it raises.

        `waiting` tells how many items of its encoder there are, at any time and on any thread, and `small`
        that a lane serves that encoder as well as the whole.
        """
        turn = _Turn(waiting, small or not self._has_whole)
        with self._lock:
            self._turns.append(turn)
            self._grant()
        grant = turn.granted.result()
        try:
            return self._threads[grant.lane].run(partial(function, grant))
        finally:
            with self._lock:
                if grant.lane == WHOLE:
                    self._whole_runs = False
                else:
                    self._free.append(grant.lane)
                self._grant()

    def close(self) -> None:
        """End the threads after what they have to do."""
        for thread in self._threads.values():
            thread.close()

    def _grant(self) -> None:
        """Give what is free to those who have waited longest."""
        while self._turns and self._free and not self._whole_runs:
            turn, free = self._turns.popleft(), len(self._free)
            some_run = free < self._lanes
            if turn.small or some_run or turn.waiting() >= self._lanes * LANE_ITEMS:
                alone = self._lanes == 1 and not self._turns
                turn.granted.set_result(Grant(self._free.pop(), free, alone))
            else:
                self._whole_runs = True
                turn.granted.set_result(Grant(WHOLE, 1, alone=not self._turns))

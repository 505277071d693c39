"""CPU slots: the shares of the processor's cores on which batches compute, one slot or all cores each.

A batch on all cores is done soonest, but its threads wait for one another at every step, and longest where
the event loop needs the cores too: two batches, each on half of them, are more work in the same time (of
short texts 16 %, of pictures 6 %) if they are large. So a large encoder computes on all cores until enough
waits for a good batch on every slot, and on slots until none runs any more. A small one, to which a second
core is no help, always computes on a slot.
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

Slot = int
"""A slot's number, or `ALL_CORES`."""
ALL_CORES: Slot = -1
SLOT_ITEMS = 8
"""Items that make a good batch on one slot."""


@dataclass(frozen=True, slots=True)
class SlotGrant:
    """A slot, and the number of free ones, itself included, `among` which the waiting items are shared.

    `alone`: no other batch runs beside it, and none waited behind it when it was granted.
    """

    slot: Slot
    among: int
    alone: bool


@dataclass(slots=True, eq=False)
class _Turn:
    """A batch that waits for a slot."""

    waiting: Callable[[], int]
    small: bool
    granted: Future[SlotGrant] = field(default_factory=Future)


class CpuSlots:
    """Threads to compute on: one per slot, and `whole`, which has all cores, if batches may have them.

    First come, first served. Close it when done.
    """

    def __init__(self, slots: Sequence[ComputeThread], whole: ComputeThread | None = None) -> None:
        self._threads = dict(enumerate(slots))
        self._free = list(reversed(self._threads))
        self._has_whole = whole is not None
        if whole is not None:
            self._threads[ALL_CORES] = whole
        self._slots = len(slots)
        self._lock = threading.Lock()
        self._turns: deque[_Turn] = deque()
        self._whole_runs = False

    @property
    def waiting(self) -> int:
        """The number of functions that wait for a slot now."""
        return len(self._turns)

    def run(
        self, function: Callable[[SlotGrant], T], waiting: Callable[[], int], *, small: bool = False
    ) -> T:
        """Run a function on a slot, or on all cores, and return its result. Raises what it raises.

        `waiting` returns how many items of its encoder wait, at any time and on any thread; `small` says that
        a slot serves that encoder as well as all cores.
        """
        turn = _Turn(waiting, small or not self._has_whole)
        with self._lock:
            self._turns.append(turn)
            self._grant()
        grant = turn.granted.result()
        try:
            return self._threads[grant.slot].run(partial(function, grant))
        finally:
            with self._lock:
                if grant.slot == ALL_CORES:
                    self._whole_runs = False
                else:
                    self._free.append(grant.slot)
                self._grant()

    def close(self) -> None:
        """End the threads after the functions they were given."""
        for thread in self._threads.values():
            thread.close()

    def _grant(self) -> None:
        """Grant what is free to those that have waited longest."""
        while self._turns and self._free and not self._whole_runs:
            turn, free = self._turns.popleft(), len(self._free)
            some_run = free < self._slots
            if turn.small or some_run or turn.waiting() >= self._slots * SLOT_ITEMS:
                alone = self._slots == 1 and not self._turns
                turn.granted.set_result(SlotGrant(self._free.pop(), free, alone))
            else:
                self._whole_runs = True
                turn.granted.set_result(SlotGrant(ALL_CORES, 1, alone=not self._turns))

"""Who computes on which cores: one batch on all of them, or several on a slot each."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
import torch
from waiting import until

from service.engine.compute import ComputeThread
from service.engine.cpu_slots import ALL_CORES, SLOT_ITEMS, CpuSlots, Slot, SlotGrant

PROMPT = 60
"""Seconds after which what must happen on any machine, however slow, is taken not to."""
ENOUGH = 2 * SLOT_ITEMS
"""Items that are worth both of two slots."""


@pytest.fixture
def slots() -> Iterator[CpuSlots]:
    before = torch.get_num_threads()
    two = CpuSlots([ComputeThread(1), ComputeThread(1)], ComputeThread(2))
    yield two
    two.close()
    torch.set_num_threads(before)


class Batch:
    """A batch on its way: where it was let run, and the word at which it ends."""

    def __init__(self, slots: CpuSlots, waiting: int, *, small: bool = False) -> None:
        self.slot: Slot | None = None
        self.among = self.cores = 0
        self.alone = False
        self._begun, self._end = threading.Event(), threading.Event()
        run = lambda: slots.run(self._work, lambda: waiting, small=small)  # noqa: E731
        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()

    def _work(self, grant: SlotGrant) -> None:
        self.slot, self.among, self.alone = grant.slot, grant.among, grant.alone
        self.cores = torch.get_num_threads()
        self._begun.set()
        assert self._end.wait(PROMPT)

    def runs(self, seconds: float = PROMPT) -> bool:
        return self._begun.wait(seconds)

    def end(self) -> None:
        self._end.set()
        self._thread.join(PROMPT)


@contextmanager
def ending() -> Iterator[Callable[[Batch], Batch]]:
    """Ends every batch that the test has begun."""
    with ExitStack() as stack:

        def begun(batch: Batch) -> Batch:
            stack.callback(batch.end)
            return batch

        yield begun


def waits(slots: CpuSlots, batch: Batch, number: int = 1) -> bool:
    """Whether a batch waits for a slot, so many with it, rather than run."""
    until(lambda: slots.waiting == number or batch.runs(0))
    return not batch.runs(0)


def test_a_small_batch_has_all_cores_and_others_wait(slots: CpuSlots) -> None:
    with ending() as begun:
        first = begun(Batch(slots, waiting=1))
        assert first.runs()
        assert (first.slot, first.among, first.cores) == (ALL_CORES, 1, 2)
        second = begun(Batch(slots, waiting=1, small=True))
        assert waits(slots, second)
        first.end()
        assert second.runs()
        assert second.slot != ALL_CORES


def test_where_enough_waits_there_is_a_batch_on_every_slot(slots: CpuSlots) -> None:
    with ending() as begun:
        one = begun(Batch(slots, waiting=ENOUGH))
        assert one.runs()
        two = begun(Batch(slots, waiting=1))
        assert two.runs()
        assert {one.slot, two.slot} == {0, 1}
        assert (one.among, one.cores, two.among, two.cores) == (2, 1, 1, 1)
        assert not one.alone and not two.alone
        three = begun(Batch(slots, waiting=ENOUGH))
        assert waits(slots, three)
        two.end()
        assert three.runs()
        assert three.slot == two.slot


def test_fewer_items_than_that_wait_for_the_whole(slots: CpuSlots) -> None:
    with ending() as begun:
        batch = begun(Batch(slots, waiting=ENOUGH - 1))
        assert batch.runs()
        assert batch.slot == ALL_CORES


def test_slots_are_had_in_the_order_they_were_asked_for(slots: CpuSlots) -> None:
    with ending() as begun:
        first = begun(Batch(slots, waiting=1))
        assert first.runs()
        later = []
        for _ in range(4):
            later.append(begun(Batch(slots, waiting=ENOUGH)))
            assert waits(slots, later[-1], len(later))
        first.end()
        for batch in later:
            assert batch.runs()
            batch.end()


def test_a_batch_behind_which_another_waits_is_not_alone(slots: CpuSlots) -> None:
    with ending() as begun:
        first = begun(Batch(slots, waiting=1))
        assert first.runs() and first.alone
        later = []
        for _ in range(2):
            later.append(begun(Batch(slots, waiting=1)))
            assert waits(slots, later[-1], len(later))
        first.end()
        assert later[0].runs() and not later[0].alone
        later[0].end()
        assert later[1].runs() and later[1].alone


def test_a_batch_that_fails_gives_its_slot_back(slots: CpuSlots) -> None:
    def fail_future(grant: SlotGrant) -> None:
        raise ValueError("this batch fails on purpose")

    for waiting in (1, ENOUGH) * 3:
        with pytest.raises(ValueError, match="on purpose"):
            slots.run(fail_future, lambda waiting=waiting: waiting)
    assert slots.run(lambda grant: grant, lambda: 1) == SlotGrant(ALL_CORES, 1, alone=True)


def test_without_a_whole_every_batch_has_a_slot() -> None:
    before = torch.get_num_threads()
    one = CpuSlots([ComputeThread(2)])
    try:
        grant, cores = one.run(lambda grant: (grant, torch.get_num_threads()), lambda: 0)
        assert (grant, cores) == (SlotGrant(0, 1, alone=True), 2)
    finally:
        one.close()
        torch.set_num_threads(before)

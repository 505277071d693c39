"""A full queue refuses requests whole, says when to come back, and leaves the other queues alone."""

import pytest

from service.engine.admission import SMALL, Admission, Reservation
from service.errors import Overloaded

FOREVER = 1e9


class Clock:
    """Time that passes where a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def embed(reservation: Reservation, clock: Clock, items: range, batch: int, each: float) -> None:
    """Have items leave as an encoder lets them: a batch at a time, after the seconds that each of it took."""
    for start in items[::batch]:
        leaving = range(start, min(start + batch, items.stop))
        clock.now += len(leaving) * each
        for index in leaving:
            reservation.leave(index, done=True)


def test_items_are_bounded() -> None:
    admission = Admission(max_items=4, max_bytes=1000)
    admission.enter([("clip", 1)] * 3, FOREVER)
    with pytest.raises(Overloaded):
        admission.enter([("clip", 1)] * 2, FOREVER)
    admission.enter([("clip", 1)], FOREVER)


def test_bytes_are_bounded() -> None:
    admission = Admission(max_items=100, max_bytes=1000)
    admission.enter([("clip", 900)], FOREVER)
    with pytest.raises(Overloaded):
        admission.enter([("clip", 200)], FOREVER)


def test_a_request_is_taken_whole_or_not_at_all() -> None:
    admission = Admission(max_items=4, max_bytes=1000)
    admission.enter([("clip", 1)] * 4, FOREVER)
    with pytest.raises(Overloaded):
        admission.enter([("clap", 1), ("clip", 1)], FOREVER)
    assert admission.queues["clap"].items == 0


def test_an_empty_queue_takes_any_request() -> None:
    Admission(max_items=4, max_bytes=10).enter([("clip", 100)] * 9, FOREVER)


def test_the_largest_request_leaves_places_for_small_ones() -> None:
    admission = Admission(max_items=2048, max_bytes=100_000)
    admission.enter([("clip", 1)] * 2048, FOREVER)
    with pytest.raises(Overloaded):
        admission.enter([("clip", 1)] * (SMALL + 1), FOREVER)
    assert not admission.full(FOREVER)
    reservations = [admission.enter([("clip", 1)] * SMALL, FOREVER) for _ in range(8)]
    assert admission.full(FOREVER)
    with pytest.raises(Overloaded):
        admission.enter([("clip", 1)], FOREVER)
    with reservations[0]:
        pass
    admission.enter([("clip", 1)], FOREVER)


def test_the_largest_request_is_let_in_beside_a_trickle_of_small_ones() -> None:
    clock = Clock()
    admission = Admission(max_items=2048, max_bytes=100_000, clock=clock)
    reservations = [admission.enter([("clip", 1)], FOREVER) for _ in range(2048)]
    clock.now += 2.0
    for reservation in reservations[:200]:
        reservation.leave(0, done=True)
    with pytest.raises(Overloaded) as refusal:
        admission.enter([("clip", 1)] * 2048, FOREVER)
    assert refusal.value.retry_after == 9  # until 825 of 1,848 are done, a hundred a second
    for reservation in reservations[200:1025]:
        reservation.leave(0, done=True)
    admission.enter([("clip", 1)] * 2048, FOREVER)


def test_queues_do_not_fill_each_other() -> None:
    admission = Admission(max_items=4, max_bytes=1000)
    admission.enter([("clip", 1)] * 4, FOREVER)
    admission.enter([("clap", 1)] * 4, FOREVER)


def test_what_left_is_reserved_no_longer() -> None:
    admission = Admission(max_items=1, max_bytes=1000)
    reservation = admission.enter([("clip", 1)], FOREVER)
    reservation.leave(0, done=True)
    admission.enter([("clip", 1)], FOREVER)


@pytest.mark.parametrize("batch", [1, 8, 32, 128])
def test_the_pace_is_that_of_the_encoder_however_large_its_batches(batch: int) -> None:
    clock = Clock()
    admission = Admission(max_items=10_000, max_bytes=100_000, clock=clock)
    reservation = admission.enter([("clip", 1)] * 2024, FOREVER)
    embed(reservation, clock, range(1024), batch, each=0.004)
    with pytest.raises(Overloaded):
        admission.enter([("clip", 1)], seconds_left=3.9)  # 1,000 wait
    admission.enter([("clip", 1)], seconds_left=4.1)


def test_the_pace_follows_an_encoder_that_slows_down() -> None:
    clock = Clock()
    admission = Admission(max_items=10_000, max_bytes=100_000, clock=clock)
    reservation = admission.enter([("clip", 1)] * 3000, FOREVER)
    embed(reservation, clock, range(1280), 32, each=0.004)
    embed(reservation, clock, range(1280, 2240), 32, each=0.04)
    assert 0.03 < admission.queues["clip"].leaving.seconds < 0.041


def test_one_slow_file_does_not_refuse_those_that_come_later() -> None:
    clock = Clock()
    admission = Admission(max_items=100, max_bytes=1000, clock=clock)
    alone = admission.enter([("ulip", 1)], FOREVER)
    embed(alone, clock, range(1), 1, each=4.0)
    reservations = [admission.enter([("ulip", 1)], seconds_left=60.0) for _ in range(32)]
    clock.now += 4.0
    reservations[0].leave(0, done=True)
    with pytest.raises(Overloaded):  # two in a row tell more
        admission.enter([("ulip", 1)], seconds_left=60.0)


def test_a_pace_of_long_ago_is_forgotten() -> None:
    clock = Clock()
    admission = Admission(max_items=100, max_bytes=1000, clock=clock)
    slow = admission.enter([("ulip", 1)] * 8, FOREVER)
    embed(slow, clock, range(8), 1, each=4.0)
    clock.now += 3600
    for _ in range(32):
        admission.enter([("ulip", 1)], seconds_left=60.0)


def test_known_items_that_leave_at_once_hide_no_slow_encoder_and_are_not_taken_for_slow() -> None:
    clock = Clock()
    admission = Admission(max_items=5000, max_bytes=100_000, clock=clock)
    slow = admission.enter([("clip", 1)] * 300, FOREVER)
    for index in range(300):
        slow.begin(index)
    for index in range(50):  # a tenth of a second each, and ten known ones meanwhile
        for _ in range(10):
            clock.now += 0.01
            admission.enter([("clip", 1)], FOREVER).leave(0, done=True)
        slow.leave(index, done=True)
    with pytest.raises(Overloaded):
        admission.enter([("clip", 1)], seconds_left=24.0)  # 250 are still to be encoded
    admission.enter([("clip", 1)], seconds_left=26.0).leave(0, done=False)
    for index in range(50, 300):
        clock.now += 0.1
        slow.leave(index, done=True)

    clock.now += 60.0
    known = admission.enter([("clip", 1)] * 2000, FOREVER)
    embed(known, clock, range(1000), 1, each=0.001)
    admission.enter([("clip", 1)], seconds_left=5.0)  # a thousand known ones, and none to encode


def test_even_very_slow_items_have_a_pace() -> None:
    clock = Clock()
    admission = Admission(max_items=100, max_bytes=1000, clock=clock)
    reservation = admission.enter([("ulip", 1)] * 20, FOREVER)
    embed(reservation, clock, range(3), 1, each=30.0)
    with pytest.raises(Overloaded):
        admission.enter([("ulip", 1)], seconds_left=60.0)


def test_what_was_given_up_tells_nothing_of_the_pace() -> None:
    clock = Clock()
    admission = Admission(max_items=100, max_bytes=1000, clock=clock)
    reservation = admission.enter([("clip", 1)] * 50, FOREVER)
    embed(reservation, clock, range(4), 1, each=0.5)
    rate = admission.queues["clip"].leaving.seconds
    with reservation:
        pass
    assert admission.queues["clip"].leaving.seconds == rate


def test_the_wait_follows_from_the_measured_pace() -> None:
    clock = Clock()
    admission = Admission(max_items=20, max_bytes=1000, clock=clock)
    reservation = admission.enter([("clip", 1)] * 24, FOREVER)
    embed(reservation, clock, range(4), 4, each=0.5)
    with pytest.raises(Overloaded) as refusal:
        admission.enter([("clip", 1)] * 10, FOREVER)
    assert refusal.value.retry_after == 5


def test_what_cannot_be_done_by_its_deadline_is_refused_now() -> None:
    clock = Clock()
    admission = Admission(max_items=100, max_bytes=1000, clock=clock)
    reservation = admission.enter([("clip", 1)] * 24, FOREVER)
    embed(reservation, clock, range(4), 4, each=0.5)
    with pytest.raises(Overloaded):
        admission.enter([("clip", 1)], seconds_left=5.0)
    admission.enter([("clip", 1)], seconds_left=11.0)


def test_a_lane_is_full_by_bytes_and_by_time_as_by_items() -> None:
    admission = Admission(max_items=100, max_bytes=1000)
    admission.enter([("clip", 999)], FOREVER)
    assert not admission.full(FOREVER)
    admission.enter([("clip", 1)], FOREVER)
    assert admission.full(FOREVER)
    assert admission.refusal("clip", FOREVER)

    clock = Clock()
    admission = Admission(max_items=100, max_bytes=1000, clock=clock)
    reservation = admission.enter([("clap", 1)] * 24, FOREVER)
    embed(reservation, clock, range(4), 4, each=0.5)
    assert not admission.full(seconds_left=11.0)
    assert admission.full(seconds_left=10.0)
    late = admission.refusal("clap", seconds_left=5.0)
    assert late is not None and late.retry_after == 6
    assert admission.refusal("clap", FOREVER) is None
    assert admission.refusal("clip", seconds_left=5.0) is None

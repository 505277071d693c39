"""A full lane turns requests away whole, says when to come back, and leaves the other lanes alone."""

import pytest

from service.engine.admission import Admission
from service.errors import Overloaded

FOREVER = 1e9


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
    assert admission.lanes["clap"].items == 0


def test_an_empty_lane_takes_any_request() -> None:
    Admission(max_items=4, max_bytes=10).enter([("clip", 100)] * 9, FOREVER)


def test_lanes_do_not_fill_each_other() -> None:
    admission = Admission(max_items=4, max_bytes=1000)
    admission.enter([("clip", 1)] * 4, FOREVER)
    admission.enter([("clap", 1)] * 4, FOREVER)


def test_what_left_makes_room() -> None:
    admission = Admission(max_items=1, max_bytes=1000)
    admission.enter([("clip", 1)], FOREVER)
    admission.leave("clip", 1, worked=True)
    admission.enter([("clip", 1)], FOREVER)


def test_the_wait_follows_from_the_measured_pace() -> None:
    admission = Admission(max_items=20, max_bytes=1000)
    admission.enter([("clip", 1)] * 20, FOREVER)
    admission.lanes["clip"].pace = 0.5
    with pytest.raises(Overloaded) as refusal:
        admission.enter([("clip", 1)] * 10, FOREVER)
    assert refusal.value.retry_after == 5


def test_what_cannot_be_done_by_its_deadline_is_refused_now() -> None:
    admission = Admission(max_items=100, max_bytes=1000)
    admission.enter([("clip", 1)] * 20, FOREVER)
    admission.lanes["clip"].pace = 0.5
    with pytest.raises(Overloaded):
        admission.enter([("clip", 1)], seconds_left=5.0)
    admission.enter([("clip", 1)], seconds_left=11.0)

"""Who was just answered is waited for if such clients tend to come back at once, and not otherwise."""

from service.engine.arrival_prediction import WINDOW, ArrivalPrediction

SOON = WINDOW / 4
LONG = 10 * WINDOW


def after_rounds(rounds: int, come_back: int, *, took: float = LONG) -> tuple[ArrivalPrediction, float]:
    """What is known after that many batches of 7 with another item waiting; the time of the last answer."""
    arrivals, now = ArrivalPrediction(), 0.0
    for _ in range(rounds):
        now += LONG
        arrivals.answered(7, 1, 32, took, now)
        for _ in range(come_back):
            arrivals.asked(now + SOON)
    now += LONG
    arrivals.answered(7, 1, 32, took, now)
    return arrivals, now


def test_all_who_were_answered_are_waited_for_once_they_were_seen_to_come_back() -> None:
    arrivals, now = after_rounds(1, come_back=7)
    assert arrivals.worth_waiting(1, now + SOON) == (1, 0.0)
    arrivals, now = after_rounds(20, come_back=7)
    wanted, seconds = arrivals.worth_waiting(1, now + SOON)
    assert wanted == 8
    assert 0 < seconds < WINDOW


def test_nobody_is_waited_for_who_is_back_already() -> None:
    arrivals, now = after_rounds(20, come_back=7)
    assert arrivals.worth_waiting(8, now + SOON) == (8, 0.0)


def test_clients_that_come_as_they_please_are_not_waited_for() -> None:
    arrivals, now = after_rounds(20, come_back=2)
    assert arrivals.worth_waiting(1, now + SOON) == (1, 0.0)


def test_clients_that_stop_coming_back_are_soon_not_waited_for() -> None:
    arrivals, now = after_rounds(20, come_back=7)
    waits = []
    for _ in range(7):
        now += LONG
        arrivals.answered(7, 1, 32, LONG, now)
        waits.append(arrivals.worth_waiting(1, now + SOON)[1])
    assert waits[0] > 0
    assert waits[-1] == 0


def test_the_wait_is_over_soon_after_the_answer_and_never_longer_than_the_batch_took() -> None:
    arrivals, now = after_rounds(20, come_back=7)
    assert arrivals.worth_waiting(1, now + 1.01 * WINDOW)[1] == 0
    arrivals, now = after_rounds(20, come_back=7, took=SOON)
    assert 0 < arrivals.worth_waiting(1, now + SOON / 2)[1] < SOON


def test_a_client_alone_never_waits() -> None:
    arrivals, now = ArrivalPrediction(), 0.0
    for _ in range(20):
        now += LONG
        arrivals.answered(1, 0, 32, LONG, now)
        arrivals.asked(now + SOON)
        assert arrivals.worth_waiting(1, now + SOON) == (1, 0.0)


def test_no_more_are_waited_for_than_a_batch_may_hold() -> None:
    arrivals, now = after_rounds(20, come_back=7)
    arrivals.answered(7, 1, 4, LONG, now + LONG)
    assert arrivals.worth_waiting(4, now + LONG + SOON)[1] == 0
    assert arrivals.worth_waiting(1, now + LONG + SOON)[0] == 4


def test_clients_whose_requests_are_not_done_yet_are_not_waited_for() -> None:
    arrivals, now = after_rounds(20, come_back=7)
    arrivals.answered(0, 6, 32, LONG, now + LONG)
    assert arrivals.worth_waiting(6, now + LONG + SOON)[1] == 0

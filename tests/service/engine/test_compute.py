"""All encoders on the CPU compute on one thread."""

import threading

import pytest
import torch

from service.engine.compute import ComputeThread


def test_it_has_its_cores_and_leaves_one_to_everybody_else() -> None:
    before = torch.get_num_threads()
    compute = ComputeThread(3)
    try:
        assert compute.run(torch.get_num_threads) == 3
        others: list[int] = []
        thread = threading.Thread(target=lambda: others.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        assert [*others, torch.get_num_threads()] == [1, 1]
        assert compute.run(torch.get_num_threads) == 3
    finally:
        compute.close()
        torch.set_num_threads(before)


def test_what_fails_there_fails_whoever_asked_and_the_thread_goes_on() -> None:
    compute = ComputeThread(1)

    def fail() -> None:
        raise SystemExit("a decoder's panic")

    try:
        with pytest.raises(SystemExit):
            compute.run(fail)
        assert compute.run(lambda: 2) == 2
    finally:
        compute.close()


def test_a_thread_that_cannot_be_kept_to_its_cores_computes_on_others() -> None:
    def start() -> None:
        compute = ComputeThread(1, frozenset({100_000}))
        answers.append(compute.run(lambda: 2))
        compute.close()

    answers: list[int] = []
    before = torch.get_num_threads()
    starting = threading.Thread(target=start, daemon=True)
    starting.start()
    starting.join(60)
    torch.set_num_threads(before)
    assert answers == [2]

"""Waiting in tests: for what must happen, or, where they kill something, until some moment nobody chose.

No other module of the tests sleeps, but for those that `test_tests.py` names.
"""

import asyncio
import random
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 240
"""Seconds after which what must happen on any machine, however slow, is taken not to."""


def until(
    condition: Callable[[], T],
    seconds: float = PATIENCE,
    *,
    every: float = 0.005,
    failed: Callable[[], object] = bool,
    tell: Callable[[], object] = str,
) -> T:
    """Wait until a condition is true, and give what it then is.

    Fails after so many seconds, or as soon as `failed` is true and the condition is not; `tell` gives what is
    said then.
    """
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert not failed() and time.monotonic() < deadline, tell() or "what was waited for did not happen"
        time.sleep(every)
    return found


async def async_until(condition: Callable[[], T], seconds: float = PATIENCE) -> T:
    """`until`, while the event loop goes on."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "what was waited for did not happen"
        await asyncio.sleep(0.001)
    return found


def at_a_random_moment(choose: random.Random, earliest: float, latest: float) -> None:
    """Let so many seconds pass, whatever happens in them: the experiment of a test that kills."""
    time.sleep(choose.uniform(earliest, latest))


class SkippingClock:
    """Stands in for a module's `time`: it is later by all the seconds that were skipped."""

    def __init__(self) -> None:
        self.skipped = 0.0

    def skip(self, seconds: float) -> None:
        """Let so many seconds have passed."""
        self.skipped += seconds

    def perf_counter(self) -> float:
        return time.perf_counter() + self.skipped

    def monotonic(self) -> float:
        return time.monotonic() + self.skipped

"""A lock that is had in the order it was asked for.

Python's own goes to whoever comes by first, so a thread that writes in a loop keeps the others out for as
long as it likes.
"""

import threading
from collections import deque
from typing import Self


class FairLock:
    """First come, first served. Not reentrant."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._waiting: deque[threading.Lock] = deque()
        self._held = False

    def __enter__(self) -> Self:
        with self._mutex:
            if not self._held:
                self._held = True
                return self
            turn = threading.Lock()
            turn.acquire()
            self._waiting.append(turn)
        turn.acquire()
        return self

    def __exit__(self, *exception: object) -> None:
        with self._mutex:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._held = False

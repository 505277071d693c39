"""A lock that threads get in the order in which they asked for it.

Python's own goes to any thread that asks at the right moment, so one that writes in a loop can keep the
others out for as long as it likes.
"""

import threading
from collections import deque
from typing import Self


class FairLock:
    """Lock that serves first come, first served. Not reentrant."""

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

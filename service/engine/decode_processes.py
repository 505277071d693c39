"""Decoding in processes of their own, for files whose decoder is Python.

Read in a thread, a mesh of text keeps the interpreter for seconds: the event loop and the encoders have it
back only every half millisecond, and at each of its hundreds of steps an encoder waits for it once. Holds
`DecodeProcesses`. What kills a decoder kills a child here, and fails the one item.
"""

import logging
import signal
import threading
import time
from typing import Any

from connectors.errors import InvalidMedia, MediaError
from connectors.media import Limits
from connectors.media.source import Source
from connectors.modality import Media, Modality
from service.concurrency.child_process import start_child
from service.engine.decode_worker import DECODE_SECONDS
from service.errors import Unavailable

log = logging.getLogger("isthmus.engine")

IDLE_SECONDS = 600.0
"""A child with nothing to do for so long is ended; it holds some 100 MB, and starting one takes a second."""
ATTEMPTS = 2
"""A child may have been killed for another's memory; killed twice at one file, it was the file."""


class _Child:
    """One process, for one file at a time."""

    def __init__(self) -> None:
        self.idle_since = 0.0
        self.process, self._connection = start_child("service.engine.decode_worker")

    def ask(self, request: tuple[Any, ...]) -> Any:
        """What the child answers. Raises `EOFError` or `OSError` if it has died."""
        self._connection.send(request)
        return self._connection.recv()

    def end(self) -> int:
        """End it now, with nobody asking; its exit status."""
        self._connection.close()
        self.process.kill()
        return self.process.wait()


class DecodeProcesses:
    """As many children as are asked at once. Thread-safe; close it when done."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[_Child] = []
        self._all: set[_Child] = set()
        self._closed = False

    @property
    def running(self) -> int:
        """The number of children there are, idle ones included."""
        with self._lock:
            return len(self._all)

    def decode(self, modality: Modality, data: bytes, name: str, limits: Limits) -> Media:
        """As `connectors.media.decode`, in a child: one for each thread that calls.

        Raises what that raises, `InvalidMedia` for a file that takes too long or that children die of,
        `Unavailable` once closed, and `RuntimeError` for what is no file's fault.
        """
        label, status = Source(data, name).label, 0
        for _ in range(ATTEMPTS):
            child = self._take()
            try:
                answer = child.ask((modality, data, name, limits, DECODE_SECONDS))
            except (EOFError, OSError):
                status = self._end(child)
                if self._closed:
                    break
                log.warning("the decoder of %s ended with status %d", label, status)
                if status == -signal.SIGALRM:
                    raise InvalidMedia(f"{label} takes more than {DECODE_SECONDS} s to decode") from None
                continue
            except BaseException:
                self._end(child)
                raise
            self._give_back(child)
            if isinstance(answer, MediaError | RuntimeError):
                raise answer
            media: Media = answer
            return media
        if self._closed:
            raise Unavailable("the service is stopping")
        raise InvalidMedia(f"{label} cannot be decoded: its decoder ended with status {status}")

    def end_idle(self) -> None:
        """End the children that have been idle for long."""
        latest = time.monotonic() - IDLE_SECONDS
        with self._lock:
            tired = [child for child in self._idle if child.idle_since < latest]
            self._idle = [child for child in self._idle if child not in tired]
        for child in tired:
            self._end(child)

    def close(self) -> None:
        """End every child, whatever it is at: whoever asked it something learns that it has died."""
        with self._lock:
            self._closed = True
            for child in self._all:
                child.process.kill()
            idle, self._idle = self._idle, []
        for child in idle:
            self._end(child)

    def _take(self) -> _Child:
        """A child that is idle and alive, or a new one. Raises `Unavailable` once closed."""
        while True:
            with self._lock:
                if self._closed:
                    raise Unavailable("the service is stopping")
                child = self._idle.pop() if self._idle else None
            if child is None:
                break
            if child.process.poll() is None:
                return child
            self._end(child)
        child = _Child()
        with self._lock:
            self._all.add(child)
            if self._closed:  # it was not there to be killed
                child.process.kill()
        return child

    def _give_back(self, child: _Child) -> None:
        with self._lock:
            if not self._closed:
                child.idle_since = time.monotonic()
                self._idle.append(child)
                return
        self._end(child)

    def _end(self, child: _Child) -> int:
        with self._lock:
            self._all.discard(child)
        return child.end()

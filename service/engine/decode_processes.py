"""Decoding in child processes, for files whose decoder is written in Python.

Holds `DecodeProcesses`. In a thread, a text mesh would keep the interpreter for seconds: the event loop and
the encoders would get it back only every half millisecond, and an encoder waits for it at each of its
hundreds of steps. A file that kills its decoder kills a child, and only that item fails.
"""

import logging
import signal
import threading
import time

from connectors.errors import InvalidMedia, MediaError, MediaTooLarge, UnsupportedMedia
from connectors.media import Limits
from connectors.media.source import Source
from connectors.modality import Media, Modality
from service.concurrency.child_process import ChildProcess
from service.concurrency.messages import ChildError, pack, unpack_reply
from service.engine.decode_messages import Decode
from service.engine.decode_worker import DECODE_SECONDS
from service.errors import Unavailable

log = logging.getLogger("isthmus.engine")

IDLE_SECONDS = 600.0
"""A child that has been idle for longer is ended; it takes some 100 MB, and a second to start."""
ATTEMPTS = 2
"""A child may have been killed for another's memory; killed twice at one file, it was the file."""
_MEDIA_ERRORS = {each.__name__: each for each in (MediaError, InvalidMedia, MediaTooLarge, UnsupportedMedia)}


class _Decoder(ChildProcess):
    """One process, for one file at a time."""

    def __init__(self) -> None:
        super().__init__("service.engine.decode_worker")
        self.idle_since = 0.0

    def decode(self, request: Decode) -> Media:
        """Return the decoded media.

        Raises `MediaError` as the decoder does, `RuntimeError` for its other errors, and `EOFError` or
        `OSError` if the process has died.
        """
        reply = self.exchange(pack(request))
        try:
            return unpack_reply(request, reply).media
        except ChildError as error:
            if kind := _MEDIA_ERRORS.get(error.error):
                raise kind(error.message) from None
            raise RuntimeError(str(error)) from None


class DecodeProcesses:
    """A child process for each decode at a time. Thread-safe; close it when done."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[_Decoder] = []
        self._all: set[_Decoder] = set()
        self._closed = False

    @property
    def running(self) -> int:
        """The number of child processes, idle ones included."""
        with self._lock:
            return len(self._all)

    def decode(self, modality: Modality, data: bytes, name: str, limits: Limits) -> Media:
        """Decode as `connectors.media.decode` does, in a child process that no other call uses meanwhile.

        Raises what that raises, `InvalidMedia` for a file that takes too long or that children die of,
        `Unavailable` once closed, and `RuntimeError` for what is no file's fault.
        """
        request = Decode(modality, data, name, limits, DECODE_SECONDS)
        label, status = Source(data, name).label, 0
        for _ in range(ATTEMPTS):
            child = self._take()
            try:
                media = child.decode(request)
            except (EOFError, OSError):
                status = self._end(child)
                if self._closed:
                    break
                log.warning("the decoder of %s ended with status %d", label, status)
                if status == -signal.SIGALRM:
                    raise InvalidMedia(f"{label} takes more than {DECODE_SECONDS} s to decode") from None
                continue
            except (MediaError, RuntimeError):
                self._give_back(child)
                raise
            except BaseException:
                self._end(child)
                raise
            self._give_back(child)
            return media
        if self._closed:
            raise Unavailable("the service is stopping")
        raise InvalidMedia(f"{label} cannot be decoded: its decoder ended with status {status}")

    def end_idle(self) -> None:
        """End the children that have been idle for longer than `IDLE_SECONDS`."""
        latest = time.monotonic() - IDLE_SECONDS
        with self._lock:
            unused = [child for child in self._idle if child.idle_since < latest]
            self._idle = [child for child in self._idle if child not in unused]
        for child in unused:
            self._end(child)

    def close(self) -> None:
        """Kill every child; the calls in progress raise `Unavailable`."""
        with self._lock:
            self._closed = True
            for child in self._all:
                child.process.kill()
            idle, self._idle = self._idle, []
        for child in idle:
            self._end(child)

    def _take(self) -> _Decoder:
        """Return an idle child that is alive, or a new one. Raises `Unavailable` once closed."""
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
        child = _Decoder()
        with self._lock:
            self._all.add(child)
            if self._closed:  # it was not there to be killed
                child.process.kill()
        return child

    def _give_back(self, child: _Decoder) -> None:
        with self._lock:
            if not self._closed:
                child.idle_since = time.monotonic()
                self._idle.append(child)
                return
        self._end(child)

    def _end(self, child: _Decoder) -> int:
        with self._lock:
            self._all.discard(child)
        return child.end()

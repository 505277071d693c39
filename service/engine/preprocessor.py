"""The preprocessor: items read, looked up in the cache, decoded and prepared for their encoder.

Holds `Preprocessor`. It owns the threads and child processes for that, and chooses for each item the event
loop (a short text), a thread, or out of process (a decoder written in Python).
"""

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from connectors.encoder import Prepared
from connectors.media import Limits, sniff
from connectors.media.point_cloud import is_read_in_python
from connectors.media.source import Source
from connectors.modality import Media, Modality
from connectors.space import UnifiedSpace
from service.engine.admission import Admission
from service.engine.cache import CacheKey, VectorCache
from service.engine.decode_pool import DecodePool, Timed
from service.engine.decode_processes import DecodeProcesses
from service.engine.embedding import Vectors
from service.engine.media_input import MediaInput

T = TypeVar("T")

TEXT_MIME = "text/plain"
OUT_OF_PROCESS_BYTES = 64 * 1024
"""Least size of the files read in Python that are decoded out of process: a text of that size takes 20 ms."""
INLINE_BYTES = 1000
"""Texts up to this size may be prepared on the event loop: a hop to a thread would take longer."""
DISPLAY = "display"
"""The queue and the flow of what is decoded only to be shown."""


@dataclass(frozen=True, slots=True)
class Preprocessed:
    """An item that is ready for the encoder, or its vectors where they were known already."""

    key: CacheKey
    mime: str
    item: Prepared | Vectors


@dataclass(frozen=True, slots=True)
class Undecoded:
    """An item that was read, and that a child process has to decode."""

    key: CacheKey
    mime: str
    data: bytes


@dataclass(frozen=True, slots=True)
class UndecodedFile:
    """A file that is only to be shown, and that a child process has to decode."""

    data: bytes


class Preprocessor:
    """Threads and child processes that read and decode. For the event loop; close it when done.

    `space` returns the unified space in use; every space it returns has the same encoders.
    """

    def __init__(
        self,
        space: Callable[[], UnifiedSpace],
        cache: VectorCache,
        limits: Limits,
        threads: int,
        display: Admission,
    ) -> None:
        self._space = space
        self._cache = cache
        self._limits = limits
        self.display = display
        self._threads = DecodePool(threads)
        # Threads that wait for a child are not those that decode, which others need meanwhile.
        self._waiting_threads = DecodePool(threads)
        self.processes = DecodeProcesses()

    async def run(self, item: MediaInput, flow: Hashable, *, inline: bool) -> Timed[Preprocessed]:
        """Read, look up, decode and prepare one item in its flow's turn.

        `inline` says that its request is small: a short text is prepared on the event loop. Raises what the
        decoder raises.
        """
        if inline and item.is_text and item.size <= INLINE_BYTES:
            started = time.perf_counter()
            found, waited = self._read(item), 0.0
            took = time.perf_counter() - started
        else:
            timed = await self._threads.run(flow, partial(self._read, item))
            found, waited, took = timed.value, timed.waited, timed.took
        if isinstance(found, Undecoded):
            decoded = await self._waiting_threads.run(flow, partial(self._prepare, found, item.name))
            return Timed(decoded.value, waited + decoded.waited, took + decoded.took)
        return Timed(found, waited, took)

    async def prepare(self, modality: Modality, media: Media) -> Prepared:
        """Prepare decoded media for their encoder, on a thread."""
        prepare = partial(self._space().prepare, modality, media)
        return (await self._threads.run("prepare", prepare)).value

    async def draw(
        self,
        modality: Modality,
        data: Callable[[], bytes],
        name: str,
        draw: Callable[[Media], T],
        size: int,
        seconds_left: float,
    ) -> T:
        """Return what `draw` makes of a file of `size` bytes that is only to be shown.

        All such work together takes the turn of one request. Raises `Overloaded` where too much of it waits,
        and what the decoder raises.
        """

        def draw_here() -> T | UndecodedFile:
            read = data()
            if _is_out_of_process(modality, read, name):
                return UndecodedFile(read)
            return draw(self._decode(modality, read, name))

        with self.display.enter([(DISPLAY, size)], seconds_left) as reservation:
            drawn = (await self._threads.run(DISPLAY, draw_here)).value
            if isinstance(drawn, UndecodedFile):
                read = drawn.data
                decode = partial(self._decode, modality, read, name)
                drawn = (await self._waiting_threads.run(DISPLAY, lambda: draw(decode()))).value
            reservation.leave(0, True)
            return drawn

    def key(self, modality: Modality, item: MediaInput) -> CacheKey:
        """Return the cache key of an item's vectors."""
        return CacheKey(item.sha256(), modality, self._space().encoder_of(modality).fingerprint)

    def answers(self) -> bool:
        """Return whether media can be decoded now: not every thread of a pool hangs."""
        return self._threads.answers() and self._waiting_threads.answers()

    def duties(self) -> list[Callable[[], None]]:
        """Return the regular duties: restart dead threads, end idle children."""
        return [self._threads.revive, self._waiting_threads.revive, self.processes.end_idle]

    def close(self) -> None:
        """End the children, and the threads after their items."""
        self.processes.close()
        for threads in (self._waiting_threads, self._threads):
            threads.close()

    def _read(self, item: MediaInput) -> Preprocessed | Undecoded:
        """Read, identify, look up, decode and prepare one item; one to decode out of process is only read."""
        data = item.read()
        Source(data, item.name, self._limits).check_bytes()
        mime, modality = TEXT_MIME, item.modality
        if not item.is_text:
            kind = sniff(data, item.name, item.content_type, item.modality)
            mime, modality = kind.mime, item.modality or kind.modality
        key = self.key(modality or "text", item)
        vectors = self._cache.get_in(self._space(), key)
        if vectors is not None:
            return Preprocessed(key, mime, vectors)
        read = Undecoded(key, mime, data)
        out_of_process = _is_out_of_process(key.modality, data, item.name)
        return read if out_of_process else self._prepare(read, item.name)

    def _prepare(self, read: Undecoded, name: str) -> Preprocessed:
        media = self._decode(read.key.modality, read.data, name)
        return Preprocessed(read.key, read.mime, self._space().prepare(read.key.modality, media))

    def _decode(self, modality: Modality, data: bytes, name: str) -> Media:
        if _is_out_of_process(modality, data, name):
            return self.processes.decode(modality, data, name, self._limits)
        return self._space().decode(modality, data, name=name, limits=self._limits)


def _is_out_of_process(modality: Modality, data: bytes, name: str) -> bool:
    """Return whether a file is decoded out of process: here its decoder would hold the interpreter lock."""
    return modality == "point_cloud" and len(data) >= OUT_OF_PROCESS_BYTES and is_read_in_python(data, name)

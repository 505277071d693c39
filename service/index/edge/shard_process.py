"""One Qdrant Edge shard in a child process, as its parent sees it.

Any thread may call; calls are messages, one at a time. A child that dies is started anew and asked again:
every call may be repeated without harm, and whatever was answered is in the shard's log.
"""

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from service.concurrency.child_process import ChildProcess
from service.concurrency.fair_lock import FairLock
from service.concurrency.messages import ChildError, MessageError, Request, pack, unpack_reply
from service.errors import IndexUnavailable
from service.index.backend import SEARCH_EF, Generation, VectorStorage
from service.index.edge.shard_messages import Open
from service.index.payload import UNIFIED, native_name

R = TypeVar("R")

START_SECONDS = 120.0
CALL_SECONDS = 60.0
"""A child that does not answer for so long is considered stuck, and killed."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class GraphSettings:
    """Settings of the HNSW graph: links a node, candidates in building and in searching, building threads.

    Segments with less than `scan_below_kb` of vectors get no graph: scanning them is as fast.
    """

    m: int = 16
    ef_construct: int = 128
    ef: int = SEARCH_EF
    threads: int = 0
    scan_below_kb: int = 10_000


class ShardClosed(Exception):
    """The shard was closed, or another process serves it now."""


class ShardProcess:
    """A shard's child process, started by the first call. Thread-safe; close it when done."""

    def __init__(
        self,
        path: Path,
        generation: Generation,
        storage: VectorStorage | None,
        graph: GraphSettings,
        *,
        nice: int = 0,
    ) -> None:
        self.path = path
        kept = storage or VectorStorage()
        self._open = Open(
            path=str(path),
            unified=UNIFIED,
            dim=generation.layout.dim,
            natives={native_name(space): dim for space, dim in generation.layout.natives.items()},
            fields=generation.fields,
            as_made=storage is None,
            quantize=kept.quantize,
            on_disk=kept.on_disk,
            hnsw_m=graph.m,
            hnsw_ef_construct=graph.ef_construct,
            hnsw_ef=graph.ef,
            threads=graph.threads,
            scan_below_kb=graph.scan_below_kb,
        )
        self._nice = nice
        self._lock = FairLock()
        self._closed = False
        self._child: ChildProcess | None = None

    @property
    def pid(self) -> int | None:
        """The child's process id, None before its first start."""
        return self._child.process.pid if self._child else None

    def call(self, request: Request[R], *, seconds: float | None = CALL_SECONDS) -> R:
        """Ask the child and wait for its answer, `seconds` at most (None: for ever).

        Raises `IndexUnavailable` if it refuses, dies twice or does not answer, `ShardClosed` once closed.
        """
        return _read(request, self._exchange(type(request).__name__, pack(request), seconds))

    def _exchange(self, name: str, message: bytes, seconds: float | None) -> bytearray:
        with self._lock:
            for attempt in (1, 2):
                if self._closed:
                    raise ShardClosed
                try:
                    if self._child is None or self._child.ended:
                        self._child = self._start()
                    return self._ask(self._child, message, seconds)
                except (EOFError, OSError) as error:
                    code = self._stop()
                    if self._closed:
                        raise ShardClosed from error
                    _log.warning("the process of %s ended (%s) in %s", self.path.name, code, name)
                    if attempt == 2:
                        raise IndexUnavailable(
                            f"the index's process ended twice (exit status {code}) in {name}"
                        ) from error
        raise AssertionError("unreachable")

    def close(self) -> None:
        """Let the call in progress finish, then end the child. Idempotent."""
        with self._lock:
            self._closed = True
            self._stop(timeout=10)

    def unload(self) -> None:
        """Let the call in progress finish, then end the child; the next call starts another."""
        with self._lock:
            self._stop(timeout=10)
            self._child = None

    def kill(self) -> None:
        """End the child now, whatever it is doing. Idempotent."""
        self._closed = True
        if self._child is not None:
            self._child.process.kill()
        self.close()

    def _ask(self, child: ChildProcess, message: bytes, seconds: float | None) -> bytearray:
        try:
            return child.exchange(message, seconds)
        except TimeoutError:
            child.end()
            raise IndexUnavailable(
                f"the index's process did not answer for {seconds:.0f} s and was ended"
            ) from None

    def _start(self) -> ChildProcess:
        self._child = child = ChildProcess("service.index.edge.shard_worker")
        if self._closed:  # killed when there was no child yet
            child.process.kill()
        if self._nice:
            os.setpriority(os.PRIO_PROCESS, child.process.pid, self._nice)
        try:
            _read(self._open, self._ask(child, pack(self._open), START_SECONDS))
        except IndexUnavailable:
            self._stop()
            raise
        return child

    def _stop(self, timeout: float = 0.0) -> int | None:
        """End the child, killing it after `timeout` seconds; return its exit status."""
        return None if self._child is None else self._child.end(timeout)


def _read(request: Request[R], reply: bytearray) -> R:
    try:
        return unpack_reply(request, reply)
    except (ChildError, MessageError) as error:
        raise IndexUnavailable(f"the index refused: {error}") from None

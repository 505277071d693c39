"""One Qdrant Edge shard in a child process, as its parent sees it.

It is given a folder and what the shard holds; calls are messages, one at a time, that any thread may send.
A child that dies is started anew and asked again: every call may be repeated without harm, and what was
answered is in the shard's log.
"""

import json
import logging
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from service.concurrency.child_process import start_child
from service.concurrency.fair_lock import FairLock
from service.errors import IndexUnavailable
from service.index.backend import SEARCH_EF, Generation, VectorStorage
from service.index.payload import UNIFIED, native_name
from service.index.records import Record, pack, unpack

START_SECONDS = 120.0
CALL_SECONDS = 60.0
"""A call without an answer for this long: the child is taken for stuck, and ended."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class GraphSettings:
    """The HNSW graph: links a node, candidates while building and while searching, threads that build.

    Segments with less than `scan_below_kb` of vectors get none: scanning them is as fast.
    """

    m: int = 16
    ef_construct: int = 128
    ef: int = SEARCH_EF
    threads: int = 0
    scan_below_kb: int = 10_000


class ShardClosed(Exception):
    """The shard was closed, or replaced by another; ask whoever has it now."""


class ShardProcess:
    """Owner of the child process that owns one shard."""

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
        self._config = {
            "path": str(path),
            "dim": generation.layout.dim,
            "natives": {native_name(space): dim for space, dim in generation.layout.natives.items()},
            "fields": dict(generation.fields),
            "unified": UNIFIED,
            "as_made": storage is None,
            "quantize": kept.quantize,
            "on_disk": kept.on_disk,
            "hnsw_m": graph.m,
            "hnsw_ef_construct": graph.ef_construct,
            "hnsw_ef": graph.ef,
            "threads": graph.threads,
            "scan_below_kb": graph.scan_below_kb,
        }
        self._nice = nice
        self._lock = FairLock()
        self._closed = False
        self._child: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None

    @property
    def pid(self) -> int | None:
        """The child's process id, None before its first start."""
        return self._child.pid if self._child else None

    def call(
        self, head: dict[str, Any], records: Sequence[Record] = (), *, seconds: float | None = CALL_SECONDS
    ) -> tuple[Any, list[Record]]:
        """Ask the child and wait for its answer, `seconds` at most (None: for ever).

        Raises `IndexUnavailable` where it refuses, dies twice or does not answer, `ShardClosed` once closed.
        """
        message = pack(head, records)
        with self._lock:
            for attempt in (1, 2):
                if self._closed:
                    raise ShardClosed
                try:
                    if self._connection is None:
                        self._start()
                    return self._exchange(message, seconds)
                except (EOFError, OSError) as error:
                    code = self._stop()
                    if self._closed:
                        raise ShardClosed from error
                    _log.warning("the process of %s ended (%s) in %s", self.path.name, code, head["ask"])
                    if attempt == 2:
                        raise IndexUnavailable(
                            f"the index's process ended twice (exit status {code}) in {head['ask']}"
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
            self._child.kill()
        self.close()

    def _exchange(self, message: bytes, seconds: float | None) -> tuple[Any, list[Record]]:
        assert self._connection is not None
        self._connection.send_bytes(message)
        return self._receive(seconds)

    def _receive(self, seconds: float | None) -> tuple[Any, list[Record]]:
        assert self._connection is not None
        if seconds is not None and not self._connection.poll(seconds):
            self._stop()
            raise IndexUnavailable(f"the index's process did not answer for {seconds:.0f} s and was ended")
        head, records = unpack(self._connection.recv_bytes())
        if "error" in head:
            raise IndexUnavailable(f"the index refused: {head['error']}")
        return head["answer"], records

    def _start(self) -> None:
        config = json.dumps(self._config)
        self._child, self._connection = start_child("service.index.edge.shard_worker", config)
        if self._closed:  # killed when there was no child yet
            self._child.kill()
        if self._nice:
            os.setpriority(os.PRIO_PROCESS, self._child.pid, self._nice)
        try:
            self._receive(START_SECONDS)
        except IndexUnavailable:
            self._stop()
            raise

    def _stop(self, timeout: float = 0.0) -> int | None:
        """End the child, kindly for `timeout` seconds; give its exit status."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._child is None:
            return None
        try:
            return self._child.wait(timeout)
        except subprocess.TimeoutExpired:
            self._child.kill()
            return self._child.wait()

"""A shard that can change its process under the callers' hands.

It sends calls to the process that serves it now, and notes which records are written and which fields are
declared, so that an optimised copy can catch up with them and take over between two calls.
"""

import math
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from service.concurrency.fair_lock import FairLock
from service.errors import IndexUnavailable
from service.index.backend import BATCH, Generation
from service.index.edge.shard_copy import copy_shard
from service.index.edge.shard_process import ShardClosed, ShardProcess
from service.index.records import Record
from service.schemas.fields import FieldType


class Shard:
    """One generation's shard. Thread-safe; owns the process."""

    def __init__(self, generation: Generation, process: ShardProcess) -> None:
        self.generation = generation
        self.last_write = float("-inf")
        self.optimizing = threading.Lock()
        """Held by whoever makes an optimised copy."""
        self._process = process
        self._copying = threading.Lock()
        self._writing = FairLock()
        self._unindexed: int | None = None
        self._holed: float | None = None
        self._behind: dict[str, None] | None = None
        self._declared: dict[str, FieldType] = {}

    @property
    def path(self) -> Path:
        """The folder the shard is in now."""
        return self._process.path

    @property
    def pid(self) -> int | None:
        """The process that serves it now, None before its first call."""
        return self._process.pid

    def call(self, head: dict[str, Any], records: Sequence[Record] = ()) -> tuple[Any, list[Record]]:
        """Ask the process that serves the shard now. Raises `IndexUnavailable`."""
        while True:
            process = self._process
            try:
                return process.call(head, records)
            except ShardClosed:
                if process is self._process:
                    raise IndexUnavailable("the index, or this collection of it, is closed") from None

    def write(self, head: dict[str, Any], records: Sequence[Record], uuids: Sequence[str]) -> None:
        """Ask for a change to the records `uuids`; a copy that is catching up gets it too."""
        with self._writing:
            self.call(head, records)
            self.last_write, self._holed = time.monotonic(), None
            if self._unindexed is not None and head["ask"] != "delete":
                self._unindexed += len(uuids)
            if self._behind is not None:
                self._behind.update(dict.fromkeys(uuids))

    def declare(self, key: str, kind: FieldType) -> None:
        """Index one more payload field; a copy that is catching up does too."""
        with self._writing:
            self.call(_declaration(key, kind))
            if self._behind is not None:
                self._declared[key] = kind

    def unindexed(self) -> int:
        """How many records an optimisation would index, about: all of them after a change of settings."""
        with self._writing:
            if self._unindexed is None:
                info = self.call({"ask": "info"})[0]
                self._unindexed = info["points"] - (0 if info["outdated"] else info["indexed"])
            return self._unindexed

    def holed(self) -> float:
        """The largest share that was deleted of a graph an optimisation would build anew for it."""
        with self._writing:
            if self._holed is None:
                self._holed = float(self.call({"ask": "info"})[0]["holed"])
            return self._holed

    def indexed(self) -> int:
        """How many records are in a graph."""
        return int(self.call({"ask": "info"})[0]["indexed"])

    def copy(self, target: Path) -> None:
        """Copy the folder as of one moment; reads and writes go on. Raises `IndexUnavailable`."""
        with self._copying:
            while True:
                process = self._process
                try:
                    copy_shard(process, target, self._writing)
                    return
                except ShardClosed:
                    if process is self._process:
                        raise IndexUnavailable("the index, or this collection of it, is closed") from None

    def copy_and_note(self, target: Path) -> None:
        """Copy the folder, and note from that moment on what is written, for `hand_over`."""
        with self._copying:
            copy_shard(self._process, target, self._noting())

    def hand_over(self, follower: ShardProcess, switched: Callable[[], None]) -> None:
        """Bring `follower`, which serves a copy, up to date and let it serve from now on.

        `switched` is called in the moment of change, writes being held. The former process and its folder go.
        """
        caught_up, left = 0, None
        while True:
            with self._writing:
                behind = self._behind
                if behind is None:
                    raise IndexUnavailable("nothing was noted: the copy cannot catch up")
                while self._declared:
                    follower.call(_declaration(*self._declared.popitem()))
                # What was written since the last turn, and more: a writer that never pauses is caught too.
                written = 0 if left is None else len(behind) - left
                for _ in range(1 + math.ceil(written / BATCH)):
                    uuids = [behind.popitem()[0] for _ in range(min(BATCH, len(behind)))]
                    self._catch_up(follower, uuids)
                    caught_up += len(uuids)
                left = len(behind)
                if left:
                    continue
                follower.call({"ask": "hold", "held": False})
                switched()
                former, self._process = self._process, follower
                self._behind, self._unindexed, self._holed = None, caught_up, None
                break
        former.close()
        shutil.rmtree(former.path, ignore_errors=True)

    def forget_notes(self) -> None:
        """Stop noting: there is no copy to catch up."""
        with self._writing:
            self._behind = None
            self._declared.clear()

    def unload(self) -> None:
        """Let the call in progress finish and end the process; the next call starts another."""
        self._process.unload()

    def close(self) -> None:
        """Let the call in progress finish and end the process. Idempotent."""
        self._process.close()

    @contextmanager
    def _noting(self) -> Iterator[None]:
        with self._writing:
            yield
            self._behind = {}

    def _catch_up(self, follower: ShardProcess, uuids: Sequence[str]) -> None:
        found = self.call({"ask": "retrieve", "uuids": list(uuids), "vectors": True})[1] if uuids else []
        if found:
            follower.call({"ask": "upsert"}, found)
        if gone := sorted(set(uuids) - {each.uuid for each in found}):
            follower.call({"ask": "delete", "uuids": gone})


def _declaration(key: str, kind: FieldType) -> dict[str, Any]:
    return {"ask": "declare", "key": key, "kind": kind}

"""A shard whose process can be replaced between two calls.

Calls go to the process that serves the shard now. While a copy is optimised, the records that are written
and the fields that are declared are noted, so that the copy can catch up and take over.
"""

import math
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from service.concurrency.fair_lock import FairLock
from service.concurrency.messages import Request
from service.errors import IndexUnavailable
from service.index.backend import BATCH, Generation
from service.index.edge.shard_copy import copy_shard
from service.index.edge.shard_messages import Change, Declare, Delete, Hold, Info, Retrieve, Upsert
from service.index.edge.shard_process import ShardClosed, ShardProcess
from service.schemas.fields import FieldType

R = TypeVar("R")


class Shard:
    """One generation's shard. Thread-safe; owns its process."""

    def __init__(self, generation: Generation, process: ShardProcess) -> None:
        self.generation = generation
        self.last_write = float("-inf")
        self.optimizing = threading.Lock()
        """Held while an optimised copy is made."""
        self._process = process
        self._copying = threading.Lock()
        self._writing = FairLock()
        self._unindexed: int | None = None
        self._holed: float | None = None
        self._behind: dict[str, None] | None = None
        self._declared: dict[str, FieldType] = {}

    @property
    def path(self) -> Path:
        """The shard's folder, which changes when an optimised copy takes over."""
        return self._process.path

    @property
    def pid(self) -> int | None:
        """The id of the process that serves it now, None before its first call."""
        return self._process.pid

    def call(self, request: Request[R]) -> R:
        """Send a request to the process that serves the shard now. Raises `IndexUnavailable`."""
        while True:
            process = self._process
            try:
                return process.call(request)
            except ShardClosed:
                if process is self._process:
                    raise IndexUnavailable("the index, or this collection of it, is closed") from None

    def write(self, change: Change) -> None:
        """Change records; a copy that is catching up is changed too."""
        with self._writing:
            self.call(change)
            self.last_write, self._holed = time.monotonic(), None
            if self._unindexed is not None and not isinstance(change, Delete):
                self._unindexed += len(change.uuids)
            if self._behind is not None:
                self._behind.update(dict.fromkeys(change.uuids))

    def declare(self, key: str, kind: FieldType) -> None:
        """Index one more payload field; it is declared to a copy that is catching up too."""
        with self._writing:
            self.call(Declare(key, kind))
            if self._behind is not None:
                self._declared[key] = kind

    def unindexed(self) -> int:
        """Return about how many records an optimisation would index: all, after a change of settings."""
        with self._writing:
            if self._unindexed is None:
                info = self.call(Info())
                self._unindexed = info.points - (0 if info.outdated else info.indexed)
            return self._unindexed

    def holed(self) -> float:
        """Return the largest deleted share of a graph that an optimisation would therefore build anew."""
        with self._writing:
            if self._holed is None:
                self._holed = self.call(Info()).holed
            return self._holed

    def indexed(self) -> int:
        """Return the number of records in a graph."""
        return self.call(Info()).indexed

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
        """Copy the folder, and from that moment on note what is written, for `hand_over`."""
        with self._copying:
            copy_shard(self._process, target, self._noting())

    def hand_over(self, follower: ShardProcess, switched: Callable[[], None]) -> None:
        """Bring `follower`, which serves a copy, up to date and let it serve from now on.

        `switched` is called at the moment of change, while writes wait. The former process is ended and its
        folder deleted.
        """
        caught_up, left = 0, None
        while True:
            with self._writing:
                behind = self._behind
                if behind is None:
                    raise IndexUnavailable("nothing was noted: the copy cannot catch up")
                while self._declared:
                    follower.call(Declare(*self._declared.popitem()))
                # One batch more than was written since the last turn: the writer may never pause.
                written = 0 if left is None else len(behind) - left
                for _ in range(1 + math.ceil(written / BATCH)):
                    uuids = [behind.popitem()[0] for _ in range(min(BATCH, len(behind)))]
                    self._catch_up(follower, uuids)
                    caught_up += len(uuids)
                left = len(behind)
                if left:
                    continue
                follower.call(Hold(held=False))
                switched()
                former, self._process = self._process, follower
                self._behind, self._unindexed, self._holed = None, caught_up, None
                break
        former.close()
        shutil.rmtree(former.path, ignore_errors=True)

    def forget_notes(self) -> None:
        """Stop noting what is written: there is no copy to catch up."""
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
        found = self.call(Retrieve(uuids, vectors=True)).records if uuids else []
        if found:
            follower.call(Upsert(found))
        if gone := sorted(set(uuids) - {each.uuid for each in found}):
            follower.call(Delete(gone))

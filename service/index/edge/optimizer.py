"""The thread that keeps shards indexed while they are read and written.

A shard with enough unindexed records is copied; the copy is optimised by a process of its own, at low
priority, catches up with what was written meanwhile and takes the shard's place. If anything goes wrong, only
the copy is lost.
"""

import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from connectors.errors import IsthmusError
from service.durable import sync_tree
from service.errors import IndexUnavailable
from service.index.backend import Generation, never
from service.index.edge.shard import Shard
from service.index.edge.shard_folder import HOLED_SHARE
from service.index.edge.shard_messages import Info, Optimize
from service.index.edge.shard_process import ShardClosed, ShardProcess

_log = logging.getLogger(__name__)

LOOK_SECONDS = 0.2
"""Interval at which a caller that waits for an optimisation is asked if it has given up."""


@dataclass(frozen=True)
class OptimizerSettings:
    """Thresholds for optimising a shard.

    It is optimised once nothing was written for `idle_seconds` and `after` records are unindexed (or the
    share `fraction` of all, if that is more) or more than the share `holed` of a graph was deleted; at
    `patience` times as many records in any case. Edge rebuilds no graph for less than `HOLED_SHARE`.
    """

    after: int = 20_000
    fraction: float = 0.05
    holed: float = HOLED_SHARE
    idle_seconds: float = 3.0
    patience: int = 5
    tick_seconds: float = 1.0
    retry_seconds: float = 300.0


class Spawn(Protocol):
    """Function that makes a shard's process."""

    def __call__(self, path: Path | None, generation: Generation, nice: int) -> ShardProcess:
        """Return the process of the shard in `path`; None makes an empty one in a new folder."""


class ShardOptimizer:
    """Optimises the shards that `shards` lists, one at a time. Owns its thread."""

    def __init__(
        self,
        shards: Callable[[], Sequence[Shard]],
        spawn: Spawn,
        moved: Callable[[Shard, Path], None],
        settings: OptimizerSettings | None = None,
    ) -> None:
        self._shards = shards
        self._spawn = spawn
        self._moved = moved
        self._settings = settings or OptimizerSettings()
        self._stop = threading.Event()
        self._one = threading.Lock()
        self._building: ShardProcess | None = None
        self._retry_at: dict[str, float] = {}
        self._thread = threading.Thread(target=self._watch, name="index-optimizer", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Give up what is being optimised and end the thread. Idempotent."""
        self._stop.set()
        if (building := self._building) is not None:
            building.kill()
        self._thread.join()

    def run(self, shard: Shard) -> None:
        """Optimise a shard now. Raises `IndexUnavailable` or `OSError`; the shard is then as it was."""
        with self._one:
            self._run(shard, _Latch(never))

    def finish_indexing(self, shard: Shard, given_up: Callable[[], bool] = never) -> bool:
        """Optimise a shard now if enough of it is not indexed, however lately it was written to.

        Returns False soon after `given_up` does True; the shard is then as it was. Raises as `run` does.
        """
        latch = _Latch(given_up)
        while not self._one.acquire(timeout=LOOK_SECONDS):
            if latch.asks():
                return False
        try:
            if shard.unindexed() >= self._settings.after:
                self._run(shard, latch)
        except IndexUnavailable:
            if not latch.given_up:
                raise
            return False
        finally:
            self._one.release()
        return True

    def _run(self, shard: Shard, latch: "_Latch") -> None:
        with shard.optimizing:
            self._building = copy = self._spawn(None, shard.generation, 10)
            kept = False
            try:
                self._check_wanted(latch)
                shard.copy_and_note(copy.path)
                self._check_wanted(latch)
                with latch.killing(copy):
                    copy.call(Optimize(), seconds=None)
                copy.close()
                sync_tree(copy.path)
                self._building = follower = self._spawn(copy.path, shard.generation, 0)
                shard.hand_over(follower, lambda: self._moved(shard, copy.path))
                kept = True
            except ShardClosed as error:
                raise IndexUnavailable("the index, or this collection of it, is closing") from error
            finally:
                building, self._building = self._building, None
                shard.forget_notes()
                if not kept:
                    copy.kill()
                    if building is not None:
                        building.kill()
                    shutil.rmtree(copy.path, ignore_errors=True)

    def _check_wanted(self, latch: "_Latch") -> None:
        if self._stop.is_set() or latch.asks():
            raise IndexUnavailable("the index is closing, or nobody waits for this any more")

    def _watch(self) -> None:
        while not self._stop.wait(self._settings.tick_seconds):
            for shard in self._shards():
                name = shard.generation.name
                if self._stop.is_set() or time.monotonic() < self._retry_at.get(name, 0.0):
                    continue
                try:
                    if self._is_due(shard):
                        self.run(shard)
                except (IsthmusError, OSError) as error:
                    if not self._stop.is_set():
                        _log.warning("the index of %s could not be optimised: %s", name, error)
                    self._retry_at[name] = time.monotonic() + self._settings.retry_seconds

    def _is_due(self, shard: Shard) -> bool:
        if shard.pid is None:
            return False
        idle = time.monotonic() - shard.last_write >= self._settings.idle_seconds
        if idle and shard.holed() > self._settings.holed:
            return True
        if (waiting := shard.unindexed()) < self._settings.after:
            return False
        points = shard.call(Info()).points
        enough = max(self._settings.after, self._settings.fraction * points)
        return waiting >= (enough if idle else enough * self._settings.patience)


class _Latch:
    """Asks `asked` if an optimisation is given up, and remembers the first yes: it may be taken back."""

    def __init__(self, asked: Callable[[], bool]) -> None:
        self.given_up = False
        self._asked = asked

    def asks(self) -> bool:
        """Return True if it is given up, or was when last asked."""
        self.given_up = self.given_up or self._asked()
        return self.given_up

    @contextmanager
    def killing(self, process: ShardProcess) -> Iterator[None]:
        """Kill a process, whatever it is doing, if the optimisation is given up within this context."""
        if self._asked is never:
            yield
            return
        over = threading.Event()

        def watch() -> None:
            while not over.wait(LOOK_SECONDS):
                if self.asks():
                    process.kill()
                    return

        watcher = threading.Thread(target=watch, name="index-optimizer-watch", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()

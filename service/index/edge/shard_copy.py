"""Copying a shard's folder while it is read and written.

First everything is copied as it stands; then writes wait while what has changed since is copied again. The
copy is as of that moment, and the wait depends on how much was written meanwhile, not on the shard's size.
"""

import os
import shutil
import time
from contextlib import AbstractContextManager
from pathlib import Path

from service.errors import IndexUnavailable
from service.index.edge.shard_messages import Hold
from service.index.edge.shard_process import ShardProcess

_CLOCK_SLACK_NS = 2_000_000_000
"""File times are coarser than the clock: what changed this shortly before the copy began is copied again."""


def copy_shard(shard: ShardProcess, target: Path, writes_held: AbstractContextManager[object]) -> None:
    """Copy `shard`'s folder to `target`, a new one. `writes_held` keeps writers out while entered.

    Raises `IndexUnavailable` if the shard's process fails, or ends while its files must not change: the
    next one, started by a read, may have changed them.
    """
    began = time.time_ns() - _CLOCK_SLACK_NS
    shard.call(Hold(held=False))
    _copy_changed(shard.path, target, since=0)
    with writes_held:
        holder = shard.call(Hold(held=True))
        try:
            _copy_changed(shard.path, target, since=began)
        finally:
            released = shard.call(Hold(held=False))
        if released != holder:
            raise IndexUnavailable("the index's process ended while its files were copied; copy them again")


def _copy_changed(source: Path, target: Path, since: int) -> None:
    """Make `target` equal to `source`; files that have not changed since `since` (ns) are there already."""
    kept = {target}
    target.mkdir(parents=True, exist_ok=True)
    for folder, folders, files in os.walk(source):
        beside = target / Path(folder).relative_to(source)
        for name in folders:
            (beside / name).mkdir(exist_ok=True)
            kept.add(beside / name)
        for name in files:
            kept.add(beside / name)
            _copy_file(Path(folder) / name, beside / name, since)
    for folder, folders, files in os.walk(target, topdown=False):
        for name in files:
            if Path(folder) / name not in kept:
                (Path(folder) / name).unlink()
        for name in folders:
            if Path(folder) / name not in kept:
                (Path(folder) / name).rmdir()


def _copy_file(source: Path, target: Path, since: int) -> None:
    try:
        found = source.stat()
        if target.exists() and found.st_mtime_ns < since and target.stat().st_size == found.st_size:
            return
        shutil.copyfile(source, target)
    except FileNotFoundError:
        return  # a log or segment that the shard dropped meanwhile; the second pass sees what replaced it

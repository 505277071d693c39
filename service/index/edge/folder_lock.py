"""The one process that uses a shard's folder, by a lock on the folder that ends with the process."""

import fcntl
import os
import time
from pathlib import Path


def own(path: Path, seconds: float) -> int:
    """Become the one process that uses a shard's folder; gives a descriptor, owned as long as it is open.

    Edge reads the segments before it locks the log. A former owner that ends in between has flushed its
    last writes into segments that were read already, and cut them off the log: they would be lost.
    Raises `TimeoutError` where the folder has an owner for so many seconds.
    """
    path.mkdir(parents=True, exist_ok=True)
    folder = os.open(path, os.O_RDONLY)
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return folder
        except BlockingIOError:
            if time.monotonic() >= deadline:
                os.close(folder)
                raise TimeoutError(f"another process uses {path}") from None
            time.sleep(0.02)

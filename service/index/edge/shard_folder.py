"""The folder of an Edge shard, read without Edge: its owner, its size and the holes in its graphs."""

import fcntl
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

HOLED_SHARE = 0.2
"""Edge builds a graph anew, when it optimises, if a larger share of it was deleted..."""
HOLED_POINTS = 1_000
"""...and it had this many points."""


@dataclass(frozen=True)
class Holes:
    """The points of one graph, up to 63 too many, and how many of them were deleted."""

    points: int
    deleted: int

    @property
    def share(self) -> float:
        """The share that was deleted; 0 of a graph too small for Edge to build it anew."""
        return self.deleted / self.points if self.points - 63 >= HOLED_POINTS else 0.0


def lock_folder(path: Path, seconds: float) -> int:
    """Become the one process that uses a shard's folder: return a descriptor that locks it while open.

    Edge reads the segments before it locks the log. A former owner that ends in between has flushed its
    last writes into segments that were read already, and cut them off the log: they would be lost.
    Raises `TimeoutError` if the folder still has an owner after `seconds`.
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


def bytes_on_disk(folder: Path) -> int:
    """Return the disk space of a folder that may be written meanwhile; files that vanish are not counted."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                total += Path(place, name).stat().st_blocks * 512
    return total


def holes(folder: Path, vector: str) -> list[Holes]:
    """Return the holes in each graph over the named vector, as of the shard's last flush.

    A point that is deleted or rewritten leaves a hole in its graph: searches do not pass through it. With up
    to half of a graph deleted they hardly suffer; from two thirds on they no longer reach every point. Edge
    counts such points as indexed. Each segment has a file with one bit a point, set if it is deleted.
    """
    counted = []
    for graph in (folder / "segments").glob(f"*/vector_index-{vector}/graph.bin"):
        bits = (graph.parents[1] / "id_tracker.deleted").read_bytes()
        counted.append(Holes(8 * len(bits), int.from_bytes(bits, "little").bit_count()))
    return counted

"""How much of each graph of an Edge shard was deleted: read from the shard's files, as of its last flush.

A point that is deleted or written anew leaves a hole in the graph it was in: searches do not go through it.
Up to half of a graph they hardly notice, from two thirds on they no longer reach every point. Edge counts
these points as indexed and tells nobody of them, so they are counted here.
"""

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


def holes(shard: Path, vector: str) -> list[Holes]:
    """Those of each graph over the named vector; the files have a bit for each point, set if it is gone."""
    counted = []
    for graph in (shard / "segments").glob(f"*/vector_index-{vector}/graph.bin"):
        bits = (graph.parents[1] / "id_tracker.deleted").read_bytes()
        counted.append(Holes(8 * len(bits), int.from_bytes(bits, "little").bit_count()))
    return counted

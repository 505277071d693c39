"""A process that writes to an index until it is killed, and says on its output what was acknowledged.

`python writer.py FOLDER SEED` upserts and deletes batches of points, printing `?ids` before a call, and
`+ids` or `-ids` once it returned. Its graphs are so small and its optimiser so eager that it optimises most
of the time.
"""

import random
import sys
from pathlib import Path

import numpy as np

from service.index.edge.edge_backend import EdgeBackend
from service.index.edge.optimizer import OptimizerSettings
from service.index.edge.shard_process import GraphSettings
from service.index.protocol import Layout, Point
from service.index.vector_index import VectorIndex

LAYOUT = Layout(dim=32, natives={"clip": 32}, connector="exmcr-1")
EAGER = OptimizerSettings(after=40, idle_seconds=0.0, tick_seconds=0.05, fraction=0.0)
NEVER = OptimizerSettings(after=10**9, holed=1)
GRAPH = GraphSettings(m=8, ef_construct=64, threads=1, scan_below_kb=20)  # from 160 points on there is one
FIRST = 1_000


def open_writers_index(folder: Path, optimizer: OptimizerSettings = NEVER) -> VectorIndex:
    """The index as it is written, for a look at what is in it."""
    return VectorIndex(EdgeBackend(folder, graph=GRAPH, optimizer=optimizer), LAYOUT)


def vector_of(point_id: str) -> np.ndarray:
    vector = np.random.default_rng(abs(hash_of(point_id))).standard_normal(32).astype(np.float32)
    return vector / np.linalg.norm(vector)


def hash_of(point_id: str) -> int:
    return int.from_bytes(point_id.encode()[-8:], "big")


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    folder, choose = Path(sys.argv[1]), random.Random(int(sys.argv[2]))
    with open_writers_index(folder, EAGER) as index:
        there = [point.id for point in index.scroll("birds", 10_000)[0]]
        say("ready")
        serial = 0
        while True:
            if there and choose.random() < 0.3:
                ids = choose.sample(there, min(len(there), 7))
                say("?" + " ".join(ids))
                index.delete("birds", ids)
                there = [each for each in there if each not in ids]
                say("-" + " ".join(ids))
            else:
                size = choose.randint(1, 9) if there else FIRST
                ids = [f"{sys.argv[2]}/{serial + i}" for i in range(size)]
                serial += len(ids)
                say("?" + " ".join(ids))
                points = [
                    Point(each, "text", "clip", vector_of(each), vector_of(each), {"name": each})
                    for each in ids
                ]
                index.upsert("birds", points)
                there += ids
                say("+" + " ".join(ids))


if __name__ == "__main__":
    main()

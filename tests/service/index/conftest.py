"""Small collections that every back end is asked the same questions about."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from service.index.opening import open_index
from service.index.protocol import Layout, Point
from service.index.vector_index import VectorIndex

LAYOUT = Layout(dim=16, natives={"clip": 16, "clap": 12, "ulip": 8}, connector="exmcr-1")
SPACES = {"text": "clip", "image": "clip", "audio": "clap", "point_cloud": "ulip"}
MODALITIES = tuple(SPACES)


def unit(rng: np.random.Generator, dim: int) -> np.ndarray:
    vector = rng.standard_normal(dim).astype(np.float32)
    return vector / np.linalg.norm(vector)


def make_points(count: int, seed: int = 0) -> list[Point]:
    """Points of every modality with metadata of every kind a filter can ask for."""
    rng = np.random.default_rng(seed)
    points = []
    for i in range(count):
        modality = MODALITIES[i % 4]
        metadata = {
            "colour": ["red", "green", "blue"][i % 3],
            "size": i,
            "weight": i / 7,
            "rare": i % 5 == 0,
            "flags": {"wild": i % 5 == 0},
            "tags": [f"t{i % 4}", f"t{i % 6}"],
            "place": {"lon": -170 + 3.3 * (i % 100), "lat": -80 + 1.6 * (i % 100)},
            "taken": f"2026-0{1 + i % 9}-1{i % 10}T0{i % 10}:00:00Z",
            "parts": [{"kind": f"k{i % 3}", "n": i % 7}, {"kind": f"k{i % 2}", "n": i % 5}],
            "two words": f"w{i % 2}",
        }
        if i % 6 == 0:
            metadata["nothing"] = None
        if i % 7 == 0:
            metadata["sometimes"] = [] if i % 2 else "here"
        points.append(
            Point(
                id=f"item/{i} é",
                modality=modality,
                space=SPACES[modality],
                unified=unit(rng, LAYOUT.dim),
                native=unit(rng, LAYOUT.natives[SPACES[modality]]),
                payload={
                    "sha256": f"{i % 50:064x}",
                    "mime": f"{modality}/x",
                    "name": f"file{i}",
                    "caption": f"A {metadata['colour']} thing, number {i}",
                    "created": f"2026-05-{1 + i % 28:02d}T12:00:00Z",
                    "connector": LAYOUT.connector,
                    "metadata": metadata,
                },
            )
        )
    return points


PERSISTENT = ["local", "edge"]
BACK_ENDS = ["memory", "edge", *(["server"] if os.environ.get("ISTHMUS_QDRANT_URL") else [])]


def open_back_end(name: str, folder: Path, layout: Layout = LAYOUT) -> VectorIndex:
    if name == "memory":
        return open_index(layout)
    if name == "server":
        return open_index(layout, url=os.environ["ISTHMUS_QDRANT_URL"])
    return open_index(layout, data_dir=folder, back_end=name)


@pytest.fixture(params=BACK_ENDS)
def index(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[VectorIndex]:
    with open_back_end(request.param, tmp_path) as opened:
        for each in opened.collections():
            opened.drop(each.name)
        yield opened

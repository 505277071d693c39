"""Isthmus's own back ends as stores: Qdrant Edge in its child process, and the client's local mode."""

from pathlib import Path

import numpy as np

from benchmarks.stores.mixture import DIM, MODALITIES, TOP, Data, modality_of
from service.index.backend import VectorStorage
from service.index.edge.edge_backend import EdgeBackend
from service.index.edge.optimizer import OptimizerSettings
from service.index.opening import open_index
from service.index.protocol import Layout, Point
from service.index.vector_index import VectorIndex

LAYOUT = Layout(DIM, {"clip": DIM}, "benchmark")
WHERE = {
    "query": None,
    "broad filter": {"must": [{"key": "metadata.half", "match": {"value": 1}}]},
    "selective filter": {"must": [{"key": "metadata.hundredth", "match": {"value": 7}}]},
    "combined filter": {
        "must": [
            {"key": "modality", "match": {"value": "audio"}},
            {"key": "metadata.hundredth", "match": {"any": list(range(10))}},
        ]
    },
}
BATCH = 1024


class IndexStore:
    """A `VectorIndex`, asked as the service asks it."""

    filters = True

    steps: tuple[str, ...] = ("ingest",)

    def ingest(self, folder: Path, data: Data) -> None:
        """Take in all vectors; both filtered fields are declared first."""
        self.open(folder)
        for key in ("metadata.half", "metadata.hundredth"):
            self.index.declare_field("b", key, "integer")
        for start in range(0, data.count, BATCH):
            rows = np.array(data.vectors[start : start + BATCH])
            self.index.upsert("b", [_point(start + i, row) for i, row in enumerate(rows)])
        self.close()

    def open(self, folder: Path) -> None:
        """Open the index in a folder."""
        self.index = self.open_index(folder)

    def open_index(self, folder: Path) -> VectorIndex:
        """The index of this kind."""
        raise NotImplementedError

    def search(self, query: np.ndarray, admitted: str) -> set[int]:
        """One search of the index, with its points' payloads."""
        return {int(hit.point.id) for hit in self.index.search("b", query, TOP, where=WHERE[admitted])}

    def pids(self) -> list[int]:
        """The shards' processes."""
        backend = self.index.backend
        return backend.pids() if isinstance(backend, EdgeBackend) else []

    def close(self) -> None:
        """Close the index."""
        self.index.close()


class EdgeStore(IndexStore):
    """Qdrant Edge; optimised once, when everything is in, so that the two times can be told apart."""

    steps = ("ingest", "optimise")

    def __init__(self, storage: VectorStorage | None = None) -> None:
        self.storage = storage or VectorStorage()

    def optimise(self, folder: Path) -> None:
        """What the background does by itself, once and now."""
        with self.open_index(folder) as index:
            assert isinstance(index.backend, EdgeBackend)
            index.backend.optimize(index.backend.current()["b"].name)

    def open_index(self, folder: Path) -> VectorIndex:
        """Edge, its own optimiser waiting for ever."""
        return VectorIndex(
            EdgeBackend(folder, storage=self.storage, optimizer=OptimizerSettings(after=10**9)), LAYOUT
        )


class LocalStore(IndexStore):
    """The client's local mode: it scans everything."""

    def open_index(self, folder: Path) -> VectorIndex:
        """Local mode in a folder."""
        return open_index(LAYOUT, data_dir=folder, back_end="local")


def _point(number: int, vector: np.ndarray) -> Point:
    metadata = {"half": number % 2, "hundredth": number % 100}
    modality = MODALITIES[int(modality_of(np.array(number)))]
    return Point(str(number), modality, "clip", vector, vector, {"metadata": metadata})

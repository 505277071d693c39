"""The references: bare graphs in this process, of the same shape as Edge's; nothing is durable.

Both are of the extra `bench` and imported only where they are used.
"""

from pathlib import Path

import numpy as np

from benchmarks.stores.mixture import DIM, FILTERS, TOP, Data
from service.index.edge.shard_process import GraphSettings

GRAPH = GraphSettings()
BATCH = 20_000


class HnswlibStore:
    """hnswlib, which filters by a Python function for every vector it meets: not measured."""

    filters = False
    steps = ("ingest",)

    def ingest(self, folder: Path, data: Data) -> None:
        """Build the graph and save it."""
        import hnswlib

        graph = hnswlib.Index(space="ip", dim=DIM)
        graph.init_index(max_elements=data.count, M=GRAPH.m, ef_construction=GRAPH.ef_construct)
        for start in range(0, data.count, BATCH):
            rows = np.array(data.vectors[start : start + BATCH])
            graph.add_items(rows, np.arange(start, start + len(rows)))
        graph.save_index(str(folder / "graph"))

    def optimise(self, folder: Path) -> None:
        """Nothing is left to do."""

    def open(self, folder: Path) -> None:
        """Load the graph."""
        import hnswlib

        self.graph = hnswlib.Index(space="ip", dim=DIM)
        self.graph.load_index(str(folder / "graph"))
        self.graph.set_ef(GRAPH.ef)
        self.graph.set_num_threads(1)

    def search(self, query: np.ndarray, admitted: str) -> set[int]:
        """One search of the graph."""
        return set(map(int, self.graph.knn_query(query, TOP)[0][0]))

    def pids(self) -> list[int]:
        """None but this one."""
        return []

    def close(self) -> None:
        """Free the graph."""
        del self.graph


class FaissStore:
    """FAISS's HNSW over float32 vectors, filtered by a bitmap that is made beforehand."""

    filters = True
    steps = ("ingest",)

    def ingest(self, folder: Path, data: Data) -> None:
        """Build the graph and save it."""
        import faiss

        graph = faiss.IndexHNSWFlat(DIM, GRAPH.m, faiss.METRIC_INNER_PRODUCT)
        graph.hnsw.efConstruction = GRAPH.ef_construct
        for start in range(0, data.count, BATCH):
            graph.add(np.array(data.vectors[start : start + BATCH]))
        faiss.write_index(graph, str(folder / "graph"))

    def optimise(self, folder: Path) -> None:
        """Nothing is left to do."""

    def open(self, folder: Path) -> None:
        """Load the graph and make the bitmaps."""
        import faiss

        faiss.omp_set_num_threads(1)
        self.graph = faiss.read_index(str(folder / "graph"))
        self.parameters = {}
        for name, admits in FILTERS.items():
            bits = np.packbits(admits(np.arange(self.graph.ntotal)), bitorder="little")
            selector = None if name == "query" else faiss.IDSelectorBitmap(bits)
            self.parameters[name] = faiss.SearchParametersHNSW(efSearch=GRAPH.ef, sel=selector)

    def search(self, query: np.ndarray, admitted: str) -> set[int]:
        """One search of the graph."""
        _, found = self.graph.search(query[None], TOP, params=self.parameters[admitted])
        return set(map(int, found[0]))

    def pids(self) -> list[int]:
        """None but this one."""
        return []

    def close(self) -> None:
        """Free the graph."""
        del self.graph, self.parameters

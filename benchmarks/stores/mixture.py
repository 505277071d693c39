"""Vectors like those of an embedding service, queries for them, and the exact answers.

Given a folder and a count it writes `vectors.npy` and `queries.npz` there, in chunks, and reads them back.
The vectors are a mixture: a cone that all share (embeddings are never spread over the whole sphere), 256
clusters of unequal size, in each a subspace of its own whose 64 directions fade as 1/sqrt(rank), and a
little noise in all directions. Half the queries are drawn like the vectors, half are moved by one constant
offset, as those of another modality are. Among 2,000 of them the local intrinsic dimension (20 neighbours) is
9; among as many real CLIP text embeddings it was 10.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from connectors.modality import Modality

DIM, TOP, QUERIES = 512, 10, 400
CLUSTERS, RANK, CHUNK, SEED = 256, 64, 20_000, 20
MODALITIES: tuple[Modality, ...] = ("text", "image", "audio", "point_cloud")
FILTERS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "query": lambda numbers: np.ones_like(numbers, dtype=bool),
    "broad filter": lambda numbers: numbers % 2 == 1,
    "selective filter": lambda numbers: numbers % 100 == 7,
    "combined filter": lambda numbers: (numbers % 100 < 10) & (modality_of(numbers) == 2),
}
"""What is asked, and which vectors, by their numbers, may answer: all, half, one in a hundred, and one in
forty by two fields."""


def modality_of(numbers: np.ndarray) -> np.ndarray:
    """Which of `MODALITIES` each vector is of, independent of its number's digits."""
    return (numbers.astype(np.uint64) * np.uint64(2654435761) >> np.uint64(16)) % np.uint64(4)


@dataclass(frozen=True)
class Data:
    """Unit vectors float32 [count, DIM], mapped from disk; queries float32 [QUERIES, DIM]; exact answers."""

    count: int
    vectors: np.ndarray
    queries: np.ndarray
    truth: dict[str, np.ndarray]
    """For each of `FILTERS` the numbers of the TOP nearest vectors: int [QUERIES, TOP]."""


def open_data(folder: Path, count: int) -> Data:
    """The data in a folder, made there if it is not. The first vectors are the same for every count."""
    vectors_file, queries_file = folder / "vectors.npy", folder / "queries.npz"
    if not queries_file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        out = np.lib.format.open_memmap(vectors_file, "w+", np.float32, (count, DIM))
        for start, chunk in _chunks(count):
            out[start : start + len(chunk)] = chunk
        out.flush()
        queries = _queries()
        np.savez(queries_file, queries=queries, **_scan(out, queries))
    vectors = np.load(vectors_file, mmap_mode="r")
    if len(vectors) != count:
        raise SystemExit(f"{folder} holds {len(vectors):,} vectors, not {count:,}; give another folder")
    stored = np.load(queries_file)
    return Data(count, vectors, stored["queries"], {name: stored[name] for name in FILTERS})


def _chunks(count: int) -> Iterator[tuple[int, np.ndarray]]:
    mixture = _Mixture()
    for start in range(0, count, CHUNK):
        rng = np.random.default_rng([SEED, start])
        yield start, mixture.draw(rng, CHUNK)[: count - start]


def _queries() -> np.ndarray:
    rng = np.random.default_rng([SEED, 1])
    queries = _Mixture().draw(rng, QUERIES)
    gap = rng.standard_normal(DIM, dtype=np.float32)
    queries[::2] += 0.6 * gap / np.linalg.norm(gap)
    return queries / np.linalg.norm(queries, axis=1, keepdims=True)


def _scan(vectors: np.ndarray, queries: np.ndarray) -> dict[str, np.ndarray]:
    """The nearest vectors by looking at every one."""
    best = {name: (np.full((len(queries), TOP), -1), np.full((len(queries), TOP), -2.0)) for name in FILTERS}
    for start in range(0, len(vectors), CHUNK):
        numbers = np.arange(start, min(len(vectors), start + CHUNK))
        cosines = queries @ vectors[numbers[0] : numbers[-1] + 1].T
        for name, admits in FILTERS.items():
            admitted = admits(numbers)
            ids = np.hstack([best[name][0], np.tile(numbers[admitted], (len(queries), 1))])
            scores = np.hstack([best[name][1], cosines[:, admitted]])
            top = np.argpartition(-scores, TOP - 1, axis=1)[:, :TOP]
            best[name] = (np.take_along_axis(ids, top, 1), np.take_along_axis(scores, top, 1))
    return {name: ids for name, (ids, _) in best.items()}


class _Mixture:
    """The clusters that everything is drawn from."""

    def __init__(self) -> None:
        rng = np.random.default_rng(SEED)
        scale = np.float32(1 / np.sqrt(DIM))
        fading = (1 / np.sqrt(np.arange(1, RANK + 1))).astype(np.float32)
        fading /= np.linalg.norm(fading)
        cone = 0.5 * scale * rng.standard_normal(DIM, dtype=np.float32)
        self.centres = cone + 0.7 * scale * rng.standard_normal((CLUSTERS, DIM), dtype=np.float32)
        self.bases = 0.7 * scale * rng.standard_normal((CLUSTERS, RANK, DIM), dtype=np.float32)
        self.bases *= fading[None, :, None]
        self.shares = 1 / np.sqrt(np.arange(1, CLUSTERS + 1))
        self.shares /= self.shares.sum()

    def draw(self, rng: np.random.Generator, size: int) -> np.ndarray:
        """Unit vectors: float32 [size, DIM]."""
        clusters = rng.choice(CLUSTERS, size, p=self.shares)
        inner = rng.standard_normal((size, RANK), dtype=np.float32)
        vectors = (0.15 / np.sqrt(DIM)) * rng.standard_normal((size, DIM), dtype=np.float32)
        for cluster in np.unique(clusters):
            members = np.flatnonzero(clusters == cluster)
            vectors[members] += self.centres[cluster] + inner[members] @ self.bases[cluster]
        unit: np.ndarray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return unit.astype(np.float32)

"""Vectors kept as int8 copies and on the disk: what is found stays the same, and what cannot is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
from waiting import until

from connectors.errors import ConfigError
from service.index.backend import VectorStorage
from service.index.edge.edge_backend import EdgeBackend
from service.index.edge.optimizer import OptimizerSettings
from service.index.edge.shard_process import GraphSettings
from service.index.opening import open_index
from service.index.protocol import Layout, Point
from service.index.vector_index import VectorIndex

COUNT = 1_000
LAYOUT = Layout(dim=64, natives={"clip": 8}, connector="exmcr-1")
NEVER = OptimizerSettings(after=10**9)
WHEN_ASKED = OptimizerSettings(after=COUNT // 10, tick_seconds=3600)
SMALL = GraphSettings(m=8, ef_construct=32, scan_below_kb=50)


def clustered(count: int, seed: int) -> np.ndarray:
    """Unit vectors around 20 centres."""
    centres = np.random.default_rng(0).standard_normal((20, 64))
    rng = np.random.default_rng(seed)
    vectors = centres[rng.integers(0, 20, count)] + 0.5 * rng.standard_normal((count, 64))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


VECTORS, QUERIES = clustered(COUNT, 1), clustered(50, 2)


def opened(folder: Path, storage: VectorStorage | None, settings: OptimizerSettings = NEVER) -> VectorIndex:
    return VectorIndex(EdgeBackend(folder, storage=storage, optimizer=settings, graph=SMALL), LAYOUT)


def fill(index: VectorIndex) -> None:
    native = np.eye(8, dtype=np.float32)[0]
    index.upsert("b", [Point(str(i), "text", "clip", VECTORS[i], native) for i in range(COUNT)])


def optimise(index: VectorIndex) -> None:
    index.backend.optimize(index.backend.current()["b"].name)


def is_indexed(index: VectorIndex, folder: Path) -> bool:
    """Whether all but a tenth is: the index then has nothing to do, and makes no new shard."""
    before = set((folder / "shards").iterdir())
    assert index.backend.finish_indexing(index.backend.current()["b"].name)
    return set((folder / "shards").iterdir()) == before


def recall(index: VectorIndex, exact: bool = False) -> float:
    """Of the ten nearest by a scan, the share that is found."""
    shares = []
    for query in QUERIES:
        nearest = set(np.argsort(-(VECTORS @ query))[:10].tolist())
        found = {int(hit.point.id) for hit in index.search("b", query, 10, exact=exact)}
        shares.append(len(nearest & found) / 10)
    return float(np.mean(shares))


def int8_copies(folder: Path) -> list[Path]:
    return list(folder.rglob("vector_storage-unified/quantized.data"))


@pytest.mark.parametrize("quantize", [False, True])
@pytest.mark.parametrize("on_disk", [False, True])
def test_whatever_the_storage_the_nearest_are_found(tmp_path: Path, quantize: bool, on_disk: bool) -> None:
    with opened(tmp_path, VectorStorage(quantize, on_disk)) as index:
        fill(index)
        optimise(index)
        assert index.stats("b").indexed > 0.9 * COUNT
        assert bool(int8_copies(tmp_path)) is quantize
        assert recall(index) >= 0.98
        assert recall(index, exact=True) == 1.0
        [hit] = index.search("b", VECTORS[3], 1, with_vectors=True)
        np.testing.assert_allclose(hit.point.unified, VECTORS[3], atol=1e-6)  # the original, not its copy
        assert hit.cosine == pytest.approx(1, abs=1e-5)


def test_native_vectors_are_on_the_disk_without_a_graph(tmp_path: Path) -> None:
    with opened(tmp_path, VectorStorage()) as index:
        fill(index)
        optimise(index)
        [point] = index.get("b", ["3"], with_vectors=True)
        np.testing.assert_allclose(point.native, np.eye(8)[0], atol=1e-6)
    segments = [json.loads(each.read_text()) for each in tmp_path.rglob("segment.json")]
    vectors = [each["config"]["vector_data"] for each in segments]
    graphs = [each["unified"]["index"] for each in vectors]
    assert any(each["type"] == "hnsw" and each["options"]["m"] > 0 for each in graphs)
    for native in (each["native.clip"] for each in vectors):
        assert native["storage_type"] in ("Mmap", "ChunkedMmap"), "read from the disk, not kept in memory"
        assert native["index"]["type"] == "plain" or native["index"]["options"]["m"] == 0
        assert native["quantization_config"] is None


def test_another_storage_is_taken_on_by_the_next_optimisation_which_it_calls_for(tmp_path: Path) -> None:
    with opened(tmp_path, VectorStorage(quantize=False)) as index:
        fill(index)
        optimise(index)
        assert not int8_copies(tmp_path)
    with opened(tmp_path, None, WHEN_ASKED) as index:
        assert recall(index) >= 0.98
        assert is_indexed(index, tmp_path), "what is asked of no storage calls for no optimisation"
    eager = OptimizerSettings(after=COUNT // 10, fraction=0, idle_seconds=0, tick_seconds=0.05)
    with opened(tmp_path, VectorStorage(quantize=True), eager) as index:
        until(lambda: index.count("b") and int8_copies(tmp_path), every=0.05)
        until(lambda: not index.stats("b").optimizing, every=0.05)
        assert is_indexed(index, tmp_path)
        assert recall(index) >= 0.98


def test_whatever_share_two_conditions_leave_the_nearest_are_found(tmp_path: Path) -> None:
    """From one in two thousand to three in five, and of conditions that all but exclude each other."""
    count, rng = 4_000, np.random.default_rng(4)
    vectors, fields = (
        clustered(count, 3),
        {"a": rng.integers(0, 100, count), "b": rng.integers(0, 100, count)},
    )
    fields["not_a"] = np.where(rng.random(count) < 0.98, (fields["a"] + 50) % 100, fields["a"])
    native = np.eye(8, dtype=np.float32)[0]
    graph = GraphSettings(m=8, ef_construct=32, threads=1, scan_below_kb=10)  # below 40 points it scans
    with VectorIndex(EdgeBackend(tmp_path, optimizer=NEVER, graph=graph), LAYOUT) as index:
        for key in fields:
            index.declare_field("b", f"metadata.{key}", "integer")
        index.upsert(
            "b",
            [
                Point(
                    str(i),
                    "text",
                    "clip",
                    vectors[i],
                    native,
                    {"metadata": {k: int(v[i]) for k, v in fields.items()}},
                )
                for i in range(count)
            ],
        )
        optimise(index)
        for (one, below), (other, under) in [
            (("a", 2), ("b", 3)),
            (("a", 10), ("b", 10)),
            (("a", 25), ("b", 10)),
            (("a", 40), ("b", 25)),
            (("a", 45), ("b", 40)),
            (("a", 60), ("b", 40)),
            (("a", 80), ("b", 75)),
            (("a", 50), ("not_a", 50)),
        ]:
            admitted = np.flatnonzero((fields[one] < below) & (fields[other] < under))
            where = {
                "must": [
                    {"key": f"metadata.{one}", "range": {"lt": below}},
                    {"key": f"metadata.{other}", "range": {"lt": under}},
                ]
            }
            shares = []
            for query in QUERIES:
                nearest = set(admitted[np.argsort(-(vectors[admitted] @ query))[:10]].tolist())
                found = {int(hit.point.id) for hit in index.search("b", query, 10, where=where)}
                shares.append(len(nearest & found) / len(nearest))
            assert np.mean(shares) >= 0.98, f"{one} < {below}, {other} < {under}: {len(admitted)} admitted"


@pytest.mark.parametrize("setting", [{"quantize": True}, {"on_disk": True}])
def test_local_mode_says_that_it_cannot(tmp_path: Path, setting: dict[str, bool]) -> None:
    with pytest.raises(ConfigError, match="ISTHMUS_INDEX=edge"):
        open_index(LAYOUT, data_dir=tmp_path, back_end="local", **setting)
    with open_index(LAYOUT, data_dir=tmp_path, back_end="local", quantize=False) as index:
        assert index.healthy()

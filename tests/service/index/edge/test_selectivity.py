"""The share a filter lets pass is known, also where its conditions depend on each other."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import qdrant_edge as edge

from service.index.edge.selectivity import CHANGED, Selectivity

COUNT = 4_000


def points(start: int, count: int, colour: str | None = None) -> list[edge.Point]:
    """Half of them red; what is red is never blue."""
    return [
        edge.Point(
            str(uuid.uuid5(uuid.NAMESPACE_OID, str(i))),
            {"v": [1.0, i / COUNT]},
            {"is": colour or ("red" if i % 2 else "blue"), "not": "blue" if i % 2 else "red", "n": i % 100},
        )
        for i in range(start, start + count)
    ]


@pytest.fixture
def shard(tmp_path: Path) -> Iterator[edge.EdgeShard]:
    vectors = {"v": edge.EdgeVectorParams(2, edge.Distance.Cosine)}
    opened = edge.EdgeShard.create(str(tmp_path), edge.EdgeConfig(vectors=vectors))
    for key in ("is", "not"):
        opened.update(edge.UpdateOperation.create_field_index(key, edge.PayloadSchemaType.Keyword))
    opened.update(edge.UpdateOperation.create_field_index("n", edge.PayloadSchemaType.Integer))
    opened.update(edge.UpdateOperation.upsert_points(points(0, COUNT)))
    yield opened
    opened.close()


def both(one: str, other: str) -> dict[str, object]:
    return {"must": [{"key": "is", "match": {"value": one}}, {"key": "not", "match": {"value": other}}]}


def below(n: int) -> dict[str, object]:
    return {"must": [{"key": "is", "match": {"value": "red"}}, {"key": "n", "range": {"lt": n}}]}


@pytest.mark.parametrize(("where", "narrow"), [(below(1), True), (below(20), True), (below(80), False)])
def test_conditions_that_are_independent(
    shard: edge.EdgeShard, where: dict[str, object], narrow: bool
) -> None:
    selectivity = Selectivity(shard)
    assert (selectivity.share(where) < 0.2) is narrow
    assert (selectivity.share(where) < 0.2) is narrow  # the share that was kept


def test_conditions_that_exclude_or_imply_each_other(shard: edge.EdgeShard) -> None:
    """Estimated as independent, each of these would be a quarter."""
    selectivity = Selectivity(shard)
    assert selectivity.share(both("red", "red")) < 0.01
    assert selectivity.share(both("red", "blue")) >= 0.45


def test_shares_are_taken_anew_once_a_tenth_has_changed(shard: edge.EdgeShard) -> None:
    selectivity, where = Selectivity(shard), both("red", "red")
    assert selectivity.share(where) < 0.2
    shard.update(edge.UpdateOperation.upsert_points(points(0, COUNT, "red")))
    selectivity.changed(int(CHANGED * COUNT) - 10)
    assert selectivity.share(where) < 0.2
    selectivity.changed(20)
    assert selectivity.share(where) >= 0.2


def test_a_shard_without_points(tmp_path: Path) -> None:
    vectors = {"v": edge.EdgeVectorParams(2, edge.Distance.Cosine)}
    shard = edge.EdgeShard.create(str(tmp_path), edge.EdgeConfig(vectors=vectors))
    assert Selectivity(shard).share(both("red", "red")) < 0.2
    shard.update(edge.UpdateOperation.upsert_points(points(0, 10)))
    shard.close()

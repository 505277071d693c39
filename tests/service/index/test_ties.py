"""Equal hits are cut by their ids on every back end, and only where a cut parts them is more asked for."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from service.index.backend import Query
from service.index.protocol import Point
from service.index.vector_index import VectorIndex

from .conftest import BACK_ENDS, LAYOUT, MODALITIES, SPACES, open_back_end, unit

COUNT = 90
VECTORS = [unit(np.random.default_rng(seed), LAYOUT.dim) for seed in range(5)]
RED = {"must": [{"key": "metadata.colour", "match": {"value": "red"}}]}


def tied_points() -> list[Point]:
    """Points of a few distinct vectors, in an order that their ids do not show."""
    rng = np.random.default_rng(5)
    points = []
    for number in rng.permutation(COUNT):
        modality = MODALITIES[rng.integers(4)]
        space = SPACES[modality]
        metadata = {"colour": ["red", "green"][rng.integers(2)], "album": f"a{number // 3}"}
        native, vector = unit(rng, LAYOUT.natives[space]), VECTORS[rng.integers(len(VECTORS))]
        points.append(Point(str(number), modality, space, vector, native, {"metadata": metadata}))
    return points


POINTS = tied_points()


@pytest.fixture(scope="module", params=BACK_ENDS)
def tied(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VectorIndex]:
    with open_back_end(request.param, tmp_path_factory.mktemp("index")) as index:
        index.drop("ties")
        index.declare_field("ties", "metadata.album", "keyword")
        for start in range(0, COUNT, 30):
            index.upsert("ties", POINTS[start : start + 30])
        yield index


@pytest.fixture
def asked(tied: VectorIndex, monkeypatch: pytest.MonkeyPatch) -> list[Query]:
    """The queries that the back end is sent."""
    queries: list[Query] = []
    send = tied.backend.query

    def noting(name: str, query: Query, *options: Any) -> Any:
        queries.append(query)
        return send(name, query, *options)

    monkeypatch.setattr(tied.backend, "query", noting)
    return queries


def ranking(query: np.ndarray, modality: str | None, red: bool) -> list[str]:
    """The ids of the points that match by the rule: greatest cosine first, equal ones by id."""
    cosines = {vector.tobytes(): float(vector.astype(np.float64) @ query) for vector in VECTORS}
    assume(np.diff(sorted(cosines.values())).min() > 1e-4)
    left = [
        point
        for point in POINTS
        if modality in (None, point.modality) and not (red and point.payload["metadata"]["colour"] != "red")
    ]
    left.sort(key=lambda point: (-cosines[point.unified.tobytes()], point.id))
    return [point.id for point in left]


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    seed=st.integers(0, 10_000),
    size=st.integers(1, 30),
    modality=st.sampled_from([None, *MODALITIES]),
    red=st.booleans(),
    exact=st.booleans(),
)
def test_pages_of_any_size_join_into_the_ranking(
    tied: VectorIndex, seed: int, size: int, modality: Any, red: bool, exact: bool
) -> None:
    query = unit(np.random.default_rng(seed), LAYOUT.dim)
    expected = ranking(query, modality, red)
    options: dict[str, Any] = {"where": RED if red else None, "exact": exact}
    joined = [
        hit.point.id
        for offset in range(0, len(expected) + size, size)
        for hit in tied.search("ties", query, size, offset, modality, **options)
    ]
    assert joined == expected
    each = tied.search_each("ties", query, size, MODALITIES, **options)
    for found, target in zip(each, MODALITIES, strict=True):
        assert [hit.point.id for hit in found] == ranking(query, target, red)[:size]


def test_a_page_that_ends_between_unequal_hits_takes_one_message(
    tied: VectorIndex, asked: list[Query]
) -> None:
    best = [point for point in POINTS if np.array_equal(point.unified, VECTORS[0])]
    found = tied.search("ties", VECTORS[0], limit=len(best))
    assert sorted(hit.point.id for hit in found) == sorted(point.id for point in best)
    assert len(asked) == 1


def test_only_the_modality_whose_equal_hits_were_parted_is_asked_again(
    tied: VectorIndex, asked: list[Query]
) -> None:
    best = Counter(point.modality for point in POINTS if np.array_equal(point.unified, VECTORS[0]))
    (parted, more), *_, (whole, fewer) = best.most_common()
    assert more > fewer
    tied.search_each("ties", VECTORS[0], fewer, [whole, parted])
    assert [len(query.filters) for query in asked] == [2, 1]


def test_facets_of_equal_counts_are_cut_by_their_values(tied: VectorIndex) -> None:
    whole = tied.facets("ties", "metadata.album", limit=200)
    assert whole == sorted(whole, key=lambda each: (-each[1], each[0]))
    assert len(whole) == COUNT // 3
    for limit in (1, 7, 29):
        assert tied.facets("ties", "metadata.album", limit) == whole[:limit]

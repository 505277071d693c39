"""Pages of a search join into the one ranking that its rules make, however many hits score alike."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import chain
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hits import names
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from connectors.calibration import Calibration, PairCurve
from connectors.space import UnifiedSpace
from service.index.protocol import Point
from service.index.vector_index import VectorIndex
from service.pipeline import Pipeline
from service.schemas.requests import SearchParams
from service.search.scoring import QueryPart
from service.search.search import search
from service.timings import Timings

from ..index.conftest import BACK_ENDS, LAYOUT, MODALITIES, SPACES, open_back_end, unit

COUNT = 70
VECTORS = [unit(np.random.default_rng(seed), LAYOUT.dim) for seed in range(5)]
# Audio's curve is so steep that different cosines score 1; text and clouds share the one of pairs without.
CURVES = Calibration(
    pairs={"text->audio": PairCurve(slope=500, bias=0), "text->image": PairCurve(slope=2, bias=0.5)}
)
SPACE = cast(
    UnifiedSpace,
    SimpleNamespace(modalities=MODALITIES, connector_version=LAYOUT.connector, calibration=CURVES),
)


def tied_points() -> list[Point]:
    """Points of a few distinct vectors, in an order that their ids do not show, some of no album."""
    rng = np.random.default_rng(11)
    points = []
    for number in rng.permutation(COUNT):
        modality = MODALITIES[rng.integers(4)]
        space = SPACES[modality]
        metadata = {"colour": ["red", "green"][rng.integers(2)]}
        if album := int(rng.integers(9)):
            metadata["album"] = f"a{album}"
        native, vector = unit(rng, LAYOUT.natives[space]), VECTORS[rng.integers(len(VECTORS))]
        points.append(Point(str(number), modality, space, vector, native, {"metadata": metadata}))
    return points


POINTS = tied_points()
Page = Callable[..., list[str]]


class IndexAlone:
    """As much of a pipeline as a search uses."""

    def __init__(self, index: VectorIndex) -> None:
        self.index = index

    async def call_index(self, timings: Timings, function: Callable[[], Any]) -> Any:
        return function()


@pytest.fixture(scope="module", params=BACK_ENDS)
def tied(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VectorIndex]:
    with open_back_end(request.param, tmp_path_factory.mktemp("index")) as index:
        index.drop("ties")
        for start in range(0, COUNT, 20):
            index.upsert("ties", POINTS[start : start + 20])
        yield index


def page(index: VectorIndex, query: np.ndarray, **params: Any) -> list[str]:
    parts = [QueryPart(query, 1.0, "text")]
    asked = SearchParams(collection="ties", **params)
    pipeline = cast(Pipeline, IndexAlone(index))
    return names(asyncio.run(search(pipeline, Timings(), SPACE, parts, asked)))


def ranking(query: np.ndarray, params: dict[str, Any]) -> list[str]:
    """The ids of all hits by the rules written out: threshold, near-duplicates, groups, quotas."""
    cosines = {vector.tobytes(): float(vector.astype(np.float64) @ query) for vector in VECTORS}
    assume(np.diff(sorted(cosines.values())).min() > 1e-3)

    def order(point: Point) -> tuple[float, float, str]:
        cosine = cosines[point.unified.tobytes()]
        return -float(CURVES.score("text", point.modality, np.array(cosine))), -cosine, point.id

    duplicates, albums, taken, left = set(), set(), Counter[str](), []
    quota = params.get("quota")
    for point in sorted(POINTS, key=order):
        metadata = point.payload["metadata"]
        if "filter" in params and metadata["colour"] != "red":
            continue
        if -order(point)[0] < params.get("score_threshold", 0):
            continue
        if "dedupe" in params:
            if (point.modality, point.unified.tobytes()) in duplicates:
                continue
            duplicates.add((point.modality, point.unified.tobytes()))
        if "group_by" in params:
            if "album" not in metadata or metadata["album"] in albums:
                continue
            albums.add(metadata["album"])
        taken[point.modality] += 1
        most = quota.get(point.modality, COUNT) if isinstance(quota, dict) else quota or COUNT
        if taken[point.modality] <= most:
            left.append(point.id)
    return left


PARAMS = st.fixed_dictionaries(
    {},
    optional={
        "filter": st.just({"must": [{"key": "metadata.colour", "match": {"value": "red"}}]}),
        "score_threshold": st.sampled_from([0.3, 0.5, 0.61]),
        "dedupe": st.just(0.999),
        "group_by": st.just("metadata.album"),
        "quota": st.integers(1, 9) | st.fixed_dictionaries({"image": st.integers(1, 4)}),
    },
)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000), size=st.integers(1, 25), params=PARAMS)
def test_pages_of_any_size_join_into_the_ranking(
    tied: VectorIndex, seed: int, size: int, params: dict[str, Any]
) -> None:
    query = unit(np.random.default_rng(seed), LAYOUT.dim)
    expected = ranking(query, params)
    pages = range(0, len(expected) + size, size)
    assert [i for start in pages for i in page(tied, query, limit=size, offset=start, **params)] == expected


@settings(max_examples=10, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000), size=st.integers(1, 25), params=PARAMS)
def test_pages_of_diverse_hits_join_into_one_page(
    tied: VectorIndex, seed: int, size: int, params: dict[str, Any]
) -> None:
    query = unit(np.random.default_rng(seed), LAYOUT.dim)
    whole = page(tied, query, limit=COUNT, diversity=0.4, **params)
    assert sorted(whole) == sorted(ranking(query, params))
    pages = range(0, len(whole), size)
    joined = [page(tied, query, limit=size, offset=start, diversity=0.4, **params) for start in pages]
    assert list(chain(*joined)) == whole


def test_a_usual_search_takes_one_message(tied: VectorIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    sent, send = [], tied.backend.query

    def noting(*arguments: Any) -> Any:
        sent.append(arguments)
        return send(*arguments)

    monkeypatch.setattr(tied.backend, "query", noting)
    images = Counter(point.unified.tobytes() for point in POINTS if point.modality == "image")
    count = images[VECTORS[0].tobytes()]
    assert len(page(tied, VECTORS[0], limit=count, target_modalities=["image"])) == count
    assert len(sent) == 1
    assert len(page(tied, VECTORS[0], limit=count - 1, target_modalities=["image"])) == count - 1
    assert len(sent) == 3

"""What the index benchmark compares with is exact, and the same however many vectors there are."""

from pathlib import Path

import numpy as np

from benchmarks.stores.mixture import DIM, FILTERS, TOP, open_data


def test_the_answers_are_those_of_a_scan(tmp_path: Path) -> None:
    data = open_data(tmp_path, 3_000)
    assert data.vectors.shape == (3_000, DIM)
    np.testing.assert_allclose(np.linalg.norm(data.vectors, axis=1), 1, atol=1e-5)
    cosines, numbers = data.queries @ data.vectors.T, np.arange(3_000)
    for name, admits in FILTERS.items():
        admitted = np.where(admits(numbers), cosines, -2)
        nearest = np.argsort(-admitted, axis=1)[:, :TOP]
        assert [set(row) for row in data.truth[name]] == [set(row) for row in nearest]


def test_fewer_vectors_are_the_first_of_more(tmp_path: Path) -> None:
    few, more = open_data(tmp_path / "few", 500), open_data(tmp_path / "more", 1_500)
    np.testing.assert_array_equal(few.vectors, more.vectors[:500])
    np.testing.assert_array_equal(few.queries, more.queries)
    again = open_data(tmp_path / "few", 500)
    np.testing.assert_array_equal(again.truth["query"], few.truth["query"])

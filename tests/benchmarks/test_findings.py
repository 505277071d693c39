"""A margin is called clear only where every seed and the interval say so."""

import json

import numpy as np
import pytest

from benchmarks._findings import ALL, Findings, over_seeds
from benchmarks._rows import at_least, at_most


def compared(ours, theirs, clusters=None):
    """Margins of one system over another; each is seeds of scores by column."""
    found = Findings("a title", "mAP in %", clusters)
    for system, runs in (("ours", ours), ("theirs", theirs)):
        for run in runs:
            found.add(system, {column: np.asarray(values, dtype=float) for column, values in run.items()})
    return found, {margin.column: margin for margin in found.margins("ours", "theirs")}


QUERIES = np.random.default_rng(0).normal(50, 20, 60)
NOISE = np.random.default_rng(1).normal(0, 1, (3, 60))
APART = {"x": [str(row) for row in range(60)]}


def test_a_difference_that_every_seed_and_query_shows_is_clear():
    _, margins = compared(
        [{"x": QUERIES + 3 + noise} for noise in NOISE], [{"x": QUERIES}] * 3, clusters=APART
    )

    assert margins["x"].mean == pytest.approx(3, abs=0.5)
    assert margins["x"].low < margins["x"].mean < margins["x"].high
    assert margins["x"].verdict == "clearly ahead"


def test_a_difference_that_few_queries_make_is_not_clear_though_every_seed_shows_it():
    lucky = np.zeros(60)
    lucky[0] = 60

    _, margins = compared([{"x": QUERIES + lucky}] * 3, [{"x": QUERIES}] * 3, clusters=APART)

    assert min(margins["x"].seeds) > 0
    assert margins["x"].verdict == "ahead, not clearly"


def test_queries_of_one_recording_count_once():
    recordings = {"x": [str(row // 20) for row in range(60)]}
    gained = np.repeat([9.0, 0.0, 0.0], 20)

    _, alone = compared([{"x": QUERIES + gained}] * 3, [{"x": QUERIES}] * 3, clusters=APART)
    _, whole = compared([{"x": QUERIES + gained}] * 3, [{"x": QUERIES}] * 3, clusters=recordings)

    assert alone["x"].verdict == "clearly ahead"
    assert whole["x"].verdict == "ahead, not clearly"


def test_seeds_of_both_signs_decide_nothing():
    _, margins = compared(
        [{"x": QUERIES + 1}, {"x": QUERIES - 1}, {"x": QUERIES + 1}], [{"x": QUERIES}] * 3, clusters=APART
    )

    assert margins["x"].verdict == "open"


def test_without_clusters_the_interval_is_over_seeds():
    _, margins = compared([{"x": QUERIES + gain} for gain in (1, 2, 3)], [{"x": QUERIES}] * 3)

    assert (margins["x"].low, margins["x"].high) == pytest.approx((2 - 4.30 / 3**0.5, 2 + 4.30 / 3**0.5))
    assert margins["x"].verdict == "ahead, not clearly"
    assert over_seeds(np.array([1.0])) == (-np.inf, np.inf)


def test_a_system_without_seeds_is_held_against_each_and_only_common_columns_count():
    clusters = {"x": APART["x"], "y": APART["x"]}
    found, margins = compared([{"x": QUERIES - 2, "y": QUERIES}] * 3, [{"x": QUERIES}], clusters=clusters)

    assert list(margins) == ["x", ALL]
    assert margins[ALL].seeds == pytest.approx((-2, -2, -2))
    assert margins[ALL].verdict == "clearly behind"
    rows = json.loads(json.dumps(found.rows("ours", ["theirs"], published="theirs")))
    assert [row["verdict"] for row in rows[3:]] == ["clearly behind"] * 2
    assert not rows[-1]["holds"]


def test_goals_say_whether_they_hold():
    assert at_least("recall", 0.97, "", 0.98).json() == {
        "name": "recall", "value": 0.97, "unit": "", "goal": ">= 0.98", "holds": False,
    }  # fmt: skip
    assert at_most("p99", 3.0, "ms", 10).holds

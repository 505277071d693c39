"""Ranks agree with a brute-force average over every order of the tied targets."""

from itertools import pairwise, permutations

import pytest
import torch

from training import ranking
from training.ranking import chance, standing

DEPTHS = (1, 2, 3)


def brute_force(scores: list[float], relevant: set[int]) -> tuple[dict[int, float], float]:
    """Recall at each depth and average precision, averaged over all orders of equal scores."""
    recalls, precisions, orders = dict.fromkeys(DEPTHS, 0.0), 0.0, 0
    for order in permutations(range(len(scores))):
        if any(scores[a] < scores[b] for a, b in pairwise(order)):
            continue
        orders += 1
        places = [i + 1 for i, target in enumerate(order) if target in relevant]
        precisions += sum((n + 1) / place for n, place in enumerate(places)) / len(places)
        for k in DEPTHS:
            recalls[k] += places[0] <= k
    return {k: total / orders for k, total in recalls.items()}, precisions / orders


def on_circle(cosines: list[float]) -> torch.Tensor:
    """Unit vectors with these cosines to (1, 0)."""
    x = torch.tensor(cosines)
    return torch.stack([x, (1 - x * x).sqrt()], dim=1)


@pytest.mark.parametrize(
    ("scores", "relevant"),
    [
        ([0.9, 0.5, 0.5, 0.5, 0.1], {1}),
        ([0.9, 0.5, 0.5, 0.5, 0.1], {0, 2, 3}),
        ([0.9, 0.9, 0.5, 0.5, 0.5, 0.1], {1, 3, 5}),
        ([0.3, 0.3, 0.3, 0.3, 0.3], {0, 4}),
        ([0.9, 0.8, 0.7, 0.6], {2, 3}),
    ],
)
def test_ties_are_worth_their_average_over_every_order(scores: list[float], relevant: set[int]) -> None:
    ids = torch.tensor([1 if i in relevant else 0 for i in range(len(scores))])
    got = standing(torch.tensor([[1.0, 0.0]]), on_circle(scores), torch.tensor([1]), ids, DEPTHS)
    recall, precision = brute_force(scores, relevant)
    assert {k: float(v) for k, v in got.recall.items()} == pytest.approx(recall)
    assert float(got.average_precision) == pytest.approx(precision)


@pytest.mark.parametrize(("targets", "relevant"), [(5, 1), (6, 3), (4, 4)])
def test_chance_is_the_average_over_every_ranking(targets: int, relevant: int) -> None:
    level = chance(torch.tensor([relevant]), targets, DEPTHS)
    recall, precision = brute_force([0.0] * targets, set(range(relevant)))
    assert {k: float(v) for k, v in level.recall.items()} == pytest.approx(recall)
    assert float(level.average_precision) == pytest.approx(precision)


@pytest.mark.parametrize(("targets", "relevant"), [(1000, 1), (1000, 10), (7, 7)])
def test_the_chance_rank_is_the_median_place_of_the_first_relevant(targets: int, relevant: int) -> None:
    rng = torch.Generator().manual_seed(0)
    firsts = [int(torch.randperm(targets, generator=rng)[:relevant].min()) + 1 for _ in range(4000)]
    median = torch.tensor(firsts).double().quantile(0.5)
    level = chance(torch.tensor([relevant]), targets, DEPTHS)
    assert float(level.rank) == pytest.approx(float(median), rel=0.06)


def test_ranks_of_distinct_scores_are_plain_ranks() -> None:
    got = standing(
        torch.tensor([[1.0, 0.0]]), on_circle([0.1, 0.7, 0.4]), torch.tensor([2]), torch.arange(3), (1, 2)
    )
    assert float(got.rank) == 2.0
    assert {k: float(v) for k, v in got.recall.items()} == {1: 0.0, 2: 1.0}


def test_the_block_size_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = torch.Generator().manual_seed(0)
    queries, targets = torch.randn(50, 8, generator=rng), torch.randn(70, 8, generator=rng)
    ids, target_ids = torch.randint(6, (50,), generator=rng), torch.arange(70) % 6
    whole = standing(queries, targets, ids, target_ids, DEPTHS)
    monkeypatch.setattr(ranking, "BLOCK_SCORES", 500)
    blocks = standing(queries, targets, ids, target_ids, DEPTHS)
    assert torch.equal(whole.rank, blocks.rank)
    torch.testing.assert_close(whole.average_precision, blocks.average_precision)

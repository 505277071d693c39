"""Measures give known values on known embeddings, and chance on embeddings that know nothing."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from connectors.errors import ConfigError
from training.metrics import (
    Figure,
    class_vectors,
    modality_gap,
    preservation,
    retrieval,
    retrieval_both_ways,
    zero_shot,
)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_a_perfect_space_finds_everything() -> None:
    x = normal(40, 16)
    for result in retrieval_both_ways(x, x + 0.01 * normal(40, 16, seed=1)):
        assert result.recall[1].value == 1
        assert result.mean_average_precision.value == pytest.approx(1)
        assert result.median_rank.value == 1
        assert result.recall[5].chance == pytest.approx(5 / 40)


@pytest.mark.parametrize("classes", [40, 7])
def test_embeddings_that_are_all_alike_score_exactly_chance(classes: int) -> None:
    ids = torch.arange(40) % classes
    result = retrieval(torch.ones(40, 64), torch.full((40, 64), 0.3), ids, ids)
    for name, figure in result.figures().items():
        assert figure.value == pytest.approx(figure.chance), name


def test_random_embeddings_score_about_chance() -> None:
    ids = torch.arange(600) % 12
    result = retrieval(normal(600, 32), normal(600, 32, seed=1), ids, ids, resamples=0)
    for name, figure in result.figures().items():
        assert figure.value == pytest.approx(figure.chance, rel=0.25), name


def test_a_relevant_row_gains_nothing_from_standing_first() -> None:
    targets = torch.ones(10, 8)
    for row in range(10):
        result = retrieval(torch.ones(1, 8), targets, [row], range(10))
        assert result.recall[1].value == pytest.approx(0.1)


def test_several_captions_share_an_image() -> None:
    images = torch.eye(4)
    captions = images.repeat_interleave(3, dim=0)
    ids = torch.arange(4).repeat_interleave(3)
    to_text, to_image = retrieval_both_ways(images, captions, torch.arange(4), ids)
    assert (to_text.queries, to_text.targets) == (4, 12)
    assert to_text.mean_average_precision.value == pytest.approx(1)
    assert to_image.recall[1].value == 1


def test_labels_may_be_words_and_queries_without_a_match_are_counted() -> None:
    result = retrieval(torch.eye(3), torch.eye(3), ["dog", "cat", "ufo"], ["dog", "cat", "sheep"])
    assert (result.queries, result.without_relevant) == (2, 1)
    assert result.recall[1].value == 1


def test_average_precision_and_rank_of_a_worked_example() -> None:
    targets = F.normalize(torch.tensor([[1, 0.0], [1, 0.2], [1, 0.4], [1, 0.8]]), dim=1)
    result = retrieval(torch.tensor([[1.0, 0.0]]), targets, ["a"], ["b", "a", "b", "a"])
    assert result.mean_average_precision.value == pytest.approx((1 / 2 + 2 / 4) / 2)
    assert result.median_rank.value == 2


def test_the_interval_holds_the_value_and_narrows_with_more_queries() -> None:
    def interval(n: int) -> float:
        x = normal(n, 8)
        recall = retrieval(x, x + 1.0 * normal(n, 8, seed=1), torch.arange(n), torch.arange(n)).recall[5]
        assert recall.low is not None
        assert recall.high is not None
        assert recall.low <= recall.value <= recall.high
        return recall.high - recall.low

    assert interval(400) < interval(40)


def test_the_bootstrap_draws_clusters_whole() -> None:
    images, captions = normal(40, 8), normal(40, 8).repeat_interleave(5, dim=0)
    captions = captions + normal(40, 8, seed=1).repeat_interleave(5, dim=0)
    ids = torch.arange(40).repeat_interleave(5)
    alone = retrieval(captions, images, ids, torch.arange(40)).recall[1]
    whole = retrieval(captions, images, ids, torch.arange(40), clusters=ids).recall[1]
    assert alone.high is not None and alone.low is not None
    assert whole.high is not None and whole.low is not None
    assert whole.high - whole.low > 1.5 * (alone.high - alone.low)


def width(figure: Figure) -> float:
    assert figure.low is not None
    assert figure.high is not None
    assert figure.low <= figure.value <= figure.high
    return figure.high - figure.low


def test_every_measure_draws_clusters_whole() -> None:
    """Forty recordings cut into five clips each that hardly differ: five times fewer things than rows."""
    recordings = torch.arange(40).repeat_interleave(5)

    def clips(seed: int) -> Tensor:
        return (normal(40, 8, seed=seed)[recordings] + 0.01 * normal(200, 8, seed=seed + 100)).contiguous()

    x, y = clips(0), clips(0) + 1.2 * clips(1)
    classes, labels = normal(6, 8, seed=2), recordings % 6

    def widths(clusters: Tensor | None) -> dict[str, float]:
        both = (clusters, clusters)
        return {
            "retrieval": width(retrieval_both_ways(x, y, clusters=both)[1].mean_average_precision),
            "zero-shot": width(zero_shot(x, classes, labels, clusters=clusters).accuracy[1]),
            "gap": width(modality_gap(x, y + 1, clusters=both)),
            "kept": width(preservation(x, y, k=40, clusters=clusters).neighbours),
            "correlation": width(preservation(x, y, clusters=clusters).correlation),
        }

    alone, whole = widths(None), widths(recordings)
    for name in alone:
        assert whole[name] > 1.5 * alone[name], name


def test_clusters_need_not_lie_side_by_side() -> None:
    x, y, names = normal(60, 8), normal(60, 8, seed=1), [f"recording {i % 12}" for i in range(60)]
    order = sorted(range(60), key=lambda i: i % 12)
    found = retrieval(x, y, clusters=names).mean_average_precision
    sorted_found = retrieval(x[order], y[order], clusters=[names[i] for i in order]).mean_average_precision

    assert found.low == pytest.approx(sorted_found.low)
    assert found.high == pytest.approx(sorted_found.high)
    with pytest.raises(ConfigError, match="one cluster a row: 3 clusters for 60 rows"):
        retrieval(x, y, clusters=["a", "b", "c"])


def test_without_resamples_there_are_no_intervals() -> None:
    x, y = normal(30, 8), normal(30, 8, seed=1)
    kept = preservation(x, y, resamples=0)
    figures = [retrieval(x, y, resamples=0).recall[1], modality_gap(x, y, resamples=0)]
    for figure in (*figures, kept.neighbours, kept.correlation):
        assert (figure.low, figure.high) == (None, None)


def test_the_same_seed_gives_the_same_figures() -> None:
    x, y = normal(50, 8), normal(50, 8, seed=1)
    assert retrieval(x, y, seed=3) == retrieval(x, y, seed=3)


def test_bad_input_is_named() -> None:
    broken = torch.eye(3)
    broken[1, 0] = torch.nan
    with pytest.raises(ConfigError, match="targets: 1 rows are not finite, the first is row 1"):
        retrieval(torch.eye(3), broken)
    with pytest.raises(ConfigError, match="same ids or labels"):
        retrieval(torch.eye(2), torch.eye(2), ["a", "b"], ["c", "d"])
    with pytest.raises(ConfigError, match="row i matches row i"):
        retrieval(torch.eye(2), torch.eye(3))


def test_zero_shot_finds_the_nearest_class() -> None:
    classes = torch.eye(6)
    items = classes.repeat_interleave(4, dim=0) + 0.05
    labels = torch.arange(6).repeat_interleave(4)
    labels[0] = 5
    result = zero_shot(items, classes, labels)
    assert result.accuracy[1].value == pytest.approx(23 / 24)
    assert result.accuracy[3].chance == pytest.approx(3 / 6)
    assert result.figures()["acc@5"].value <= 1
    with pytest.raises(ConfigError, match=r"0\.\.5"):
        zero_shot(items, classes, labels + 1)


def test_zero_shot_of_one_point_is_chance() -> None:
    result = zero_shot(torch.ones(12, 8), torch.ones(6, 8), torch.zeros(12, dtype=torch.int64))
    assert result.accuracy[1].value == pytest.approx(1 / 6)


def test_prompts_of_a_class_are_averaged() -> None:
    vectors = class_vectors(torch.stack([torch.eye(2), 3 * torch.eye(2)]))
    torch.testing.assert_close(vectors, torch.full((2, 2), 0.5**0.5))


def test_the_gap_is_seen_above_sampling_noise() -> None:
    x, y = normal(500, 32), normal(500, 32, seed=1)
    same = modality_gap(x, y)
    assert same.value == pytest.approx(same.chance, rel=0.3)
    shifted = modality_gap(x, y + 2 * torch.eye(32)[0])
    assert shifted.value > 4 * shifted.chance


def test_an_untouched_base_is_kept_whole_and_a_scrambled_one_is_not() -> None:
    x = normal(300, 16)
    kept = preservation(x, x.clone())
    assert (kept.neighbours.value, kept.correlation.value) == (1.0, pytest.approx(1))
    turned = preservation(x, x @ torch.linalg.qr(normal(16, 16, seed=1)).Q)
    assert turned.neighbours.value == pytest.approx(1, abs=0.01)
    lost = preservation(x, normal(300, 16, seed=2))
    assert lost.neighbours.value == pytest.approx(lost.neighbours.chance, abs=0.02)
    assert lost.correlation.value == pytest.approx(0, abs=0.03)


def test_a_collapsed_space_keeps_no_more_than_chance() -> None:
    lost = preservation(normal(300, 16), torch.ones(300, 16))
    assert lost.neighbours.value == pytest.approx(lost.neighbours.chance, abs=0.03)
    assert lost.correlation.value == 0

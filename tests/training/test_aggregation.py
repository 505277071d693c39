import pytest
import torch
from torch.nn import functional as F

from training.aggregation import aggregate


def unit(rows, dim, seed):
    return F.normalize(torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed)), dim=1)


QUERIES, KEYS, OTHER = unit(37, 24, 1), unit(101, 24, 2), unit(101, 16, 3)


def plainly(weights, values):
    return F.normalize(weights @ values, dim=1)


@pytest.mark.parametrize("temperature", [0.01, 0.2])
@pytest.mark.parametrize("blocks", [None, (8, 16), (1, 1), (64, 7)])
def test_soft_weights_are_a_softmax_over_all_keys_whatever_the_blocks(temperature, blocks):
    weights = (QUERIES @ KEYS.T / temperature).softmax(1)

    (found,) = aggregate(QUERIES, KEYS, OTHER, temperature=temperature, blocks=blocks)

    torch.testing.assert_close(found, plainly(weights, OTHER), atol=1e-5, rtol=0)


def test_two_values_are_read_with_the_same_weights():
    both = aggregate(QUERIES, KEYS, KEYS, OTHER, blocks=(8, 16))

    assert torch.equal(both[0], aggregate(QUERIES, KEYS, KEYS, blocks=(8, 16))[0])
    assert torch.equal(both[1], aggregate(QUERIES, KEYS, OTHER, blocks=(8, 16))[0])


@pytest.mark.parametrize("blocks", [None, (8, 16), (5, 2)])
def test_top_k_weights_are_a_softmax_over_the_nearest(blocks):
    logits = QUERIES @ KEYS.T / 0.1
    kept = logits.topk(4, dim=1)
    weights = torch.zeros_like(logits).scatter(1, kept.indices, kept.values.softmax(1))

    (found,) = aggregate(QUERIES, KEYS, OTHER, weighting="top_k", top_k=4, temperature=0.1, blocks=blocks)

    torch.testing.assert_close(found, plainly(weights, OTHER), atol=1e-5, rtol=0)


def test_hard_weights_read_the_nearest_key_alone():
    (found,) = aggregate(QUERIES, KEYS, OTHER, weighting="hard", blocks=(8, 16))

    torch.testing.assert_close(found, OTHER[(QUERIES @ KEYS.T).argmax(1)])


def test_queries_far_from_every_key_still_get_a_mixture():
    """Weights are relative to the nearest key: exp(-100) of an absolute scale would be 0 / 0."""
    (found,) = aggregate(-KEYS[:1], KEYS[:1], OTHER[:1])

    torch.testing.assert_close(found, OTHER[:1])


def test_half_precision_memories_are_read_as_they_are():
    (found,) = aggregate(QUERIES, KEYS.half(), OTHER.half(), temperature=0.1)
    (exact,) = aggregate(QUERIES, KEYS, OTHER, temperature=0.1)

    assert found.dtype == torch.float32
    torch.testing.assert_close(found, exact, atol=2e-3, rtol=0)


def test_top_k_past_the_number_of_keys_takes_them_all():
    (found,) = aggregate(QUERIES, KEYS[:3], OTHER[:3], weighting="top_k", top_k=8, temperature=0.1)
    (soft,) = aggregate(QUERIES, KEYS[:3], OTHER[:3], temperature=0.1)

    torch.testing.assert_close(found, soft)


@pytest.mark.parametrize(
    ("keys", "values", "message"),
    [
        (KEYS[:0], OTHER[:0], "at least one"),
        (KEYS, OTHER[:5], "one row a key"),
        (OTHER, OTHER, "queries have 24 dimensions, keys 16"),
    ],
)
def test_shapes_that_do_not_fit_are_named(keys, values, message):
    with pytest.raises(ValueError, match=message):
        aggregate(QUERIES, keys, values)

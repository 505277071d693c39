import math

import pytest
import torch
from torch.nn import functional as F

from training.losses import (
    attraction,
    dense_inter_space_loss,
    info_nce,
    inter_space_loss,
    intra_space_loss,
    neighbourhood_loss,
    semantic_completion,
)


def unit(rows, dim=16, seed=0):
    return F.normalize(torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed)), dim=1)


X, Y, Z, W = (unit(32, seed=seed) for seed in range(4))


def test_info_nce_is_the_mean_cross_entropy_of_both_directions():
    logits, truth = X @ Y.T / 0.05, torch.arange(32)
    expected = (F.cross_entropy(logits, truth) + F.cross_entropy(logits.T, truth)) / 2

    torch.testing.assert_close(info_nce(X, Y, 0.05), expected)


@pytest.mark.parametrize("temperature", [0.01, 0.025, 0.05, 1.0])
def test_info_nce_has_the_gradient_of_its_formula(temperature):
    x, y = X.clone().requires_grad_(), Y.clone().requires_grad_()
    logits, truth = x @ y.T / temperature, torch.arange(32)
    plain = (F.cross_entropy(logits, truth) + F.cross_entropy(logits.T, truth)) / 2
    expected = torch.autograd.grad(3 * plain, (x, y))

    loss = info_nce(x, y, temperature)
    found = torch.autograd.grad(3 * loss, (x, y))

    torch.testing.assert_close(loss, plain, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_info_nce_of_indistinguishable_rows_is_the_log_of_their_number():
    same = X[:1].expand(32, -1)

    assert info_nce(same, same, 0.05).item() == pytest.approx(math.log(32))


def test_completion_keeps_unit_length_and_moves_by_the_variance_asked_for():
    x = unit(2000, dim=512)
    noisy = semantic_completion(x, 0.004, torch.Generator().manual_seed(7))

    torch.testing.assert_close(noisy.norm(dim=1), torch.ones(2000))
    # |x + θ|² has mean 1 + d σ², so the cosine to x is about 1 / sqrt(1 + d σ²).
    assert (x * noisy).sum(1).mean().item() == pytest.approx((1 + 512 * 0.004) ** -0.5, abs=0.01)


def test_completion_is_fresh_each_time_and_off_at_zero_variance():
    draw = torch.Generator().manual_seed(0)

    assert not torch.equal(semantic_completion(X, 0.01, draw), semantic_completion(X, 0.01, draw))
    assert torch.equal(semantic_completion(X, 0.0), X)


def test_cmcr_inter_loss_contrasts_overlap_with_overlap_and_other_with_other():
    found = inter_space_loss(X, Y, Z, W, 0.05, 0.1)

    torch.testing.assert_close(found, info_nce(X, Y, 0.05) + info_nce(Z, W, 0.1))


def test_cmcr_intra_loss_is_half_the_two_distances_inside_the_spaces():
    expected = ((X - Y).norm(dim=1) + (Z - W).norm(dim=1)).mean() / 2

    torch.testing.assert_close(intra_space_loss(X, Y, Z, W), expected)


def test_attraction_can_be_squared():
    torch.testing.assert_close(attraction(X, Y, squared=True), (X - Y).square().sum(1).mean())


def test_attraction_has_a_finite_gradient_where_both_are_the_same():
    x = X.clone().requires_grad_()
    attraction(x, X).backward()

    assert x.grad.isfinite().all()


def test_dense_loss_is_the_mean_over_the_pairs_asked_for():
    leaf, base = {"leaf": X, "overlap": Y}, {"overlap": Z, "base": W}

    found = dense_inter_space_loss(leaf, base, [("leaf", "overlap"), ("overlap", "base")], 0.05)

    torch.testing.assert_close(found, (info_nce(X, Z, 0.05) + info_nce(Y, W, 0.05)) / 2)


def test_neighbourhoods_are_kept_by_a_rotation_and_lost_by_a_shuffle():
    rotation, _ = torch.linalg.qr(torch.randn(16, 16, generator=torch.Generator().manual_seed(9)))

    kept = neighbourhood_loss(X, X @ rotation, 0.1)
    lost = neighbourhood_loss(X, X.roll(1, 0), 0.1)

    assert kept.item() == pytest.approx(0, abs=1e-5)
    assert lost.item() > 0.5

import pytest
import torch

from training.closed_form import choose_penalty, procrustes, ridge


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


X = normal(300, 10)


def test_ridge_without_penalty_is_least_squares():
    y = normal(300, 6, seed=1)

    torch.testing.assert_close(ridge(X, y, 0.0), torch.linalg.lstsq(X, y).solution, atol=1e-5, rtol=0)


def test_ridge_penalty_is_a_share_of_the_variance_whatever_the_number_of_items():
    y = normal(300, 6, seed=1)
    once, twice = ridge(X, y, 0.3), ridge(torch.cat([X, X]), torch.cat([y, y]), 0.3)

    torch.testing.assert_close(once, twice)
    assert once.norm() < ridge(X, y, 0.0).norm()


@pytest.mark.parametrize("dim_out", [10, 6])
def test_procrustes_finds_the_rotation_that_was_applied(dim_out):
    rotation = torch.linalg.qr(normal(10, 10, seed=2)).Q[:, :dim_out]
    found = procrustes(X, X @ rotation)

    torch.testing.assert_close(found.T @ found, torch.eye(dim_out), atol=1e-5, rtol=0)
    if dim_out == 10:
        torch.testing.assert_close(found, rotation, atol=1e-5, rtol=0)


def test_the_penalty_is_the_one_that_errs_least_on_pairs_held_out():
    few, noise = normal(40, 30, seed=3), normal(40, 5, seed=4)

    assert choose_penalty(few, noise, (1e-6, 100.0), seed=0) == 100.0
    assert choose_penalty(X, X @ normal(10, 5, seed=5), (1e-6, 100.0), seed=0) == 1e-6

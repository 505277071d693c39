"""Closed-form connections: ridge regression and orthogonal Procrustes from leaf to base.

Given the overlapping modality in both spaces (row for row the same items), gives the matrix that takes
the leaf's vectors to the base's. It is then applied to the leaf's other modality as well: the baseline
every trained connector is held against. Equations 13 and 14 of docs/training.md.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def ridge(x: Tensor, y: Tensor, penalty: float) -> Tensor:
    """Equation 13: W = argmin |XW - Y|² + c |W|², [leaf dim, base dim]; c = penalty · trace(XᵀX)/d.

    Args:
        x: leaf vectors [N, leaf dim].
        y: base vectors of the same items [N, base dim].
        penalty: as a share of the mean variance of a dimension of x, so that it suits any N.

    """
    moments = x.double().T @ x.double()
    shrink = penalty * moments.diagonal().mean()
    system = moments + shrink * torch.eye(len(moments), dtype=moments.dtype, device=x.device)
    weight: Tensor = torch.linalg.solve(system, x.double().T @ y.double())
    return weight.float()


def choose_penalty(x: Tensor, y: Tensor, penalties: Sequence[float], seed: int) -> float:
    """Pick the penalty whose ridge errs least on a tenth of the pairs held out of its fit."""
    if len(penalties) == 1 or len(x) < 20:
        return penalties[0]
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed)).to(x.device)
    held, kept = order[: len(x) // 10], order[len(x) // 10 :]
    errors = {
        penalty: float((x[held] @ ridge(x[kept], y[kept], penalty) - y[held]).square().mean())
        for penalty in penalties
    }
    return min(errors, key=lambda penalty: errors[penalty])


def procrustes(x: Tensor, y: Tensor) -> Tensor:
    """Equation 14: argmin |XR - Y| over R with orthonormal rows or columns, [leaf dim, base dim].

    From the singular vectors of XᵀY = U S Vᵀ: R = U Vᵀ.
    """
    u, _, vh = torch.linalg.svd(x.double().T @ y.double(), full_matrices=False)
    rotation: Tensor = u @ vh
    return rotation.float()

"""The losses of C-MCR and Ex-MCR: one pure function an equation, numbered as in docs/training.md.

Every function takes L2-normalised embeddings, one row an item, and gives a scalar. The superscripts of
the paper's running example are kept in the comments (t text, v image, a audio; I the base space CLIP,
A the leaf space CLAP); nothing depends on which modalities they are.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from training.fused_info_nce import SMALLEST_TEMPERATURE, FusedInfoNCE

Contrast = Callable[[Tensor, Tensor, float], Tensor]
"""An InfoNCE of rows of x with rows of y at a temperature: `info_nce`, or the data-parallel one."""


def semantic_completion(x: Tensor, variance: float, generator: torch.Generator | None = None) -> Tensor:
    """Equation 2: x <- normalize(x + θ), θ ~ N(0, σ² I), fresh at each call. x: [N, d].

    A point becomes a small region of meaning: with d = 512 and σ² = 0.004 the noise is 1.4 times as
    long as the vector, so that what an embedding says is learnt in all its surroundings.
    """
    if variance == 0:
        return x
    noise = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
    return F.normalize(x + noise * variance**0.5, dim=-1)


def info_nce(x: Tensor, y: Tensor, temperature: float) -> Tensor:
    """Equation 4: symmetric InfoNCE; row i of x [N, d] and row i of y [N, d] are a pair.

    NCE(x, y; τ) = -1/2N Σ_i [ log softmax_j(x_i·y_j / τ)_i + log softmax_j(x_j·y_i / τ)_i ]
    """
    with torch.autocast(x.device.type, enabled=False):  # logits to 3 digits need float32
        if temperature >= SMALLEST_TEMPERATURE:
            fused: Tensor = FusedInfoNCE.apply(x.float(), y.float(), temperature)  # type: ignore[no-untyped-call]
            return fused
        logits = x.float() @ y.float().T / temperature
    pairs = logits.diagonal()
    return (logits.logsumexp(1) + logits.logsumexp(0) - 2 * pairs).mean() / 2


def inter_space_loss(
    base_overlap: Tensor,  # t^I, projected [N, d]
    leaf_overlap: Tensor,  # t^A
    base_other: Tensor,  # v~
    leaf_other: Tensor,  # a~
    overlap_temperature: float,
    other_temperature: float,
    contrast: Contrast = info_nce,
) -> Tensor:
    """Equation 5, C-MCR: L_inter = NCE(t^I, t^A; τ2) + NCE(v~, a~; τ3)."""
    return contrast(base_overlap, leaf_overlap, overlap_temperature) + contrast(
        base_other, leaf_other, other_temperature
    )


def intra_space_loss(
    base_overlap: Tensor, base_other: Tensor, leaf_overlap: Tensor, leaf_other: Tensor, squared: bool = False
) -> Tensor:
    """Equation 6, C-MCR: L_intra = mean( |t^I - v~|₂ + |t^A - a~|₂ ) / 2. Attraction only.

    It closes the modality gap inside each space. `squared` takes |.|₂² in place of |.|₂.
    """
    return (attraction(base_overlap, base_other, squared) + attraction(leaf_overlap, leaf_other, squared)) / 2


def attraction(x: Tensor, y: Tensor, squared: bool = False) -> Tensor:
    """Mean |x - y|₂ over rows of x, y [N, d] (or |.|₂²).

    Equation 8, Ex-MCR, is this on x = f_l(a) and y = t^A: L_intra = mean |f_l(a) - t^A|₂.
    """
    squares = (x - y).square().sum(-1)
    if squared:
        return squares.mean()
    # The root's slope is infinite at 0, where a text's own pseudo-pair may well be.
    return (squares + 1e-12).sqrt().mean()


def dense_inter_space_loss(
    leaf: Mapping[str, Tensor],
    base: Mapping[str, Tensor],
    pairs: Sequence[tuple[str, str]],
    temperature: float,
    contrast: Contrast = info_nce,
) -> Tensor:
    """Equation 9, Ex-MCR: L_inter = mean of NCE(x, y; τ2) over the dense pairs.

    Args:
        leaf: {"leaf": f_m(f_l(a)), "overlap": f_m(t^A)}, each [N, d].
        base: {"overlap": t^I, "base": v^I}, each [N, d], untouched.
        pairs: which terms, as (key of leaf, key of base); the paper has all four (A-T, A-V, T-T, T-V).
        temperature: τ2.
        contrast: how one pair is contrasted.

    """
    terms = [contrast(leaf[x], base[y], temperature) for x, y in pairs]
    return torch.stack(terms).mean()


def neighbourhood_loss(before: Tensor, after: Tensor, temperature: float) -> Tensor:
    """Equation 12, after STRUCTURE: keep each item's neighbours as they were in the frozen space.

    mean_i KL( softmax_j(b_i·b_j / τ) || softmax_j(c_i·c_j / τ) ) over j ≠ i, b = before [N, d],
    c = after [N, e]. In place of, or beside, L_intra.
    """
    itself = torch.eye(len(before), dtype=torch.bool, device=before.device)
    target = (before @ before.T / temperature).masked_fill(itself, -torch.inf).softmax(1)
    found = (after @ after.T / temperature).masked_fill(itself, -1e4).log_softmax(1)
    # xlogy(0, 0) is 0: an item is no neighbour of its own.
    divergence: Tensor = torch.special.xlogy(target, target) - target * found
    return divergence.sum(1).mean()

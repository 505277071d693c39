"""Score calibration: the curve from cosine to probability for each directed pair of modalities.

Given unified vectors with concepts, it fits by logistic regression how likely two items match, at odds of
one match in twenty, so that a score means the same for every pair of modalities and a score below one
half says that most likely nothing matches. Two items match where they share a concept.
"""

import json
from collections.abc import Mapping
from itertools import product
from pathlib import Path

import torch
from torch import Tensor

from training.compact.held_out import View

PRIOR = 0.05
"""Share of matches that a score assumes: a search finds few among many."""

FEWEST = 20
"""Matching pairs below which no curve is fitted."""


def fit_curve(match: Tensor, other: Tensor, rounds: int = 60) -> tuple[float, float]:
    """Slope and bias of sigmoid(slope * cosine + bias), by Newton's method.

    `match` [n] and `other` [m] are cosines; each side weighs as `PRIOR` says, with a slight pull of
    the slope towards zero that keeps separable data finite.
    """
    x = torch.cat([match, other]).double()
    y = torch.cat([torch.ones(len(match)), torch.zeros(len(other))]).double()
    weight = torch.where(y > 0, PRIOR / len(match), (1 - PRIOR) / len(other))
    rows = torch.stack([x, torch.ones_like(x)], dim=1)
    pull = torch.diag(torch.tensor([1e-6, 0.0], dtype=torch.double))
    beta = torch.tensor([8.0, -4.0], dtype=torch.double)
    for _ in range(rounds):
        p = torch.sigmoid(rows @ beta)
        gradient = rows.T @ (weight * (p - y)) + pull @ beta
        curvature = (rows * (weight * p * (1 - p))[:, None]).T @ rows + pull
        curvature += 1e-9 * torch.eye(2, dtype=torch.double)
        step = torch.linalg.solve(curvature, gradient)
        beta = beta - step * min(1.0, 4.0 / float(step.norm() + 1e-12))
    return float(beta[0]), float(beta[1])


def pair_cosines(query: View, target: View, same: bool) -> tuple[Tensor, Tensor]:
    """Cosines of matching and of other pairs; an item is never paired with itself."""
    cosine = query.vectors @ target.vectors.T
    concepts = {c: k for k, c in enumerate(sorted({*query.concepts, *target.concepts}))}
    a = torch.tensor([concepts[c] for c in query.concepts])
    b = torch.tensor([concepts[c] for c in target.concepts])
    match = a[:, None] == b[None]
    use = ~torch.eye(len(a), dtype=torch.bool) if same else torch.ones_like(match)
    return cosine[match & use], cosine[~match & use]


def fit_curves(views: Mapping[str, View]) -> dict[str, dict[str, float]]:
    """Curves by `query->target`, of views by modality with a concept in every row."""
    curves = {}
    for a, b in product(views, repeat=2):
        match, other = pair_cosines(views[a], views[b], a == b)
        if len(match) < FEWEST:
            continue
        slope, bias = fit_curve(match, other)
        curves[f"{a}->{b}"] = {
            "slope": round(max(slope, 0.1), 4),
            "bias": round(bias, 4),
            "mean": round(float(other.mean()), 4),
            "std": round(float(other.std()), 4),
        }
    return curves


def write_curves(views: Mapping[str, View], path: Path) -> dict[str, dict[str, float]]:
    """Fit the curves and write the calibration file; gives them back."""
    curves = fit_curves(views)
    path.write_text(json.dumps({"pairs": curves}, indent=2) + "\n", encoding="utf-8")
    return curves

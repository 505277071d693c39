"""The 3D space: point clouds, pictures and words brought together (as ULIP does, in small).

Given clouds, features of the pictures that show the same meshes, and text vectors of their names, it trains
the point trunk and the three heads of the space. The picture and word trunks stay frozen.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from connectors.encoders.compact.shape_trunk import POINTS, prepare_points
from connectors.modality import Points
from training.compact.alignment import soft_contrast, structure_loss
from training.compact.optimisers import warm_cosine

FEWEST_KEPT = 256


def turned(points: Points, rng: np.random.Generator) -> Points:
    """Turned about the up axis; three times in ten with another axis up; tilted a little."""
    angle = rng.uniform(0, 2 * math.pi)
    cos, sin = math.cos(angle), math.sin(angle)
    turn = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
    if rng.random() < 0.3:  # z up: (x, y, z) -> (x, -z, y)
        turn = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]]) @ turn
    tilt = np.linalg.qr(np.eye(3) + rng.normal(0, 0.06, (3, 3)))[0]
    tilt *= np.sign(np.diag(tilt))
    return np.asarray(points @ (tilt @ turn).T, dtype=np.float32)


def shape_view(points: Points, rng: np.random.Generator) -> Tensor:
    """One augmented cloud, prepared: [1, POINTS, 3].

    Turned, stretched, mirrored, cut by a plane as a scan from one side would be, thinned, jittered.
    """
    view = turned(points, rng)
    view = view * rng.uniform(0.8, 1.25, 3).astype(np.float32)
    if rng.random() < 0.5:
        view = view * np.array([-1, 1, 1], dtype=np.float32)
    if rng.random() < 0.3:
        direction = rng.standard_normal(3)
        depth = view @ (direction / np.linalg.norm(direction))
        view = view[depth <= np.quantile(depth, rng.uniform(0.6, 0.95))]
    keep = POINTS if rng.random() < 0.6 else int(rng.integers(FEWEST_KEPT, POINTS))
    view = view[rng.permutation(len(view))[:keep]]
    if rng.random() < 0.5:
        view = view + rng.normal(0, rng.uniform(0.0, 0.02), view.shape)
    return prepare_points(np.asarray(view, dtype=np.float32))


@dataclass(frozen=True)
class ShapeRows:
    """Training meshes: clouds, picture features [n, views, d], text vectors [n, e]."""

    clouds: list[Points]
    pictures: Tensor
    words: Tensor


@dataclass(frozen=True, slots=True)
class ShapePlan:
    """How long and how hard to train."""

    epochs: int = 40
    batch: int = 128
    lr: float = 1e-3
    decay: float = 0.05
    temperature: float = 0.06
    noise: float = 0.15
    seed: int = 0


def train_shapes(
    points: nn.Module,
    picture_head: nn.Module,
    text_head: nn.Module,
    rows: ShapeRows,
    texts: Tensor,
    plan: ShapePlan,
    progress: Callable[[str], None],
) -> None:
    """Train the point tower and both heads in place.

    A cloud and a picture match where they show one mesh; either matches a text as its name does.
    """
    torch.manual_seed(plan.seed)
    rng = np.random.default_rng(plan.seed)
    modules = (points, picture_head, text_head)
    parameters = [p for module in modules for p in module.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=plan.lr, weight_decay=plan.decay, fused=True)
    spread = rows.pictures.flatten(0, 1).std(dim=0)
    count = len(rows.clouds)
    steps = plan.epochs * (count // plan.batch)
    points.train()
    step, seen = 0, 0.0
    for epoch in range(plan.epochs):
        order = rng.permutation(count)
        for start in range(0, count - plan.batch + 1, plan.batch):
            chosen = order[start : start + plan.batch]
            clouds = torch.cat([shape_view(rows.clouds[k], rng) for k in chosen])
            view = torch.from_numpy(rng.integers(rows.pictures.shape[1], size=plan.batch))
            at = torch.from_numpy(chosen)
            picture = rows.pictures[at, view]
            picture = F.dropout(picture + plan.noise * spread * torch.randn_like(picture), 0.1)
            words = rows.words[at]
            p = F.normalize(points(clouds), dim=1)
            v = F.normalize(picture_head(picture), dim=1)
            t = F.normalize(text_head(words), dim=1)
            same = torch.arange(plan.batch)
            logits = p @ v.T / plan.temperature
            mesh = F.cross_entropy(logits, same) + F.cross_entropy(logits.T, same)
            name = soft_contrast(p, t, words, plan.temperature)
            name = name + soft_contrast(v, t, words, plan.temperature)
            kept = structure_loss(text_head, texts[torch.randint(len(texts), (512,))])
            loss = 0.5 * mesh + name + 20 * kept
            for group in optimiser.param_groups:
                group["lr"] = plan.lr * warm_cosine(step, steps, 50)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            step += 1
            seen += float(loss.detach())
        if (epoch + 1) % 5 == 0:
            progress(f"epoch {epoch + 1}/{plan.epochs}: loss {seen / step:.3f} so far")
    points.eval()

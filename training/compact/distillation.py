"""Distilling a trunk: a small network taught to answer as a teacher does, on a pool of views.

Given a pool (`view_pool`) and the teacher's classifier, it trains a trunk whose stages were taught before
(`stage_fitting`). The student matches the pooled features and the class scores that follow from them; what
the views show counts beside the teacher.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from connectors.encoders.compact.conv_layers import Trunk
from training.compact.alignment import soft_contrast
from training.compact.optimisers import ConvOptimiser, warm_cosine
from training.compact.teachers import Classifier
from training.compact.view_pool import Views

WARM_UP = 60
"""Steps until the learning rates are at their highest."""


@dataclass(frozen=True, slots=True)
class DistilPlan:
    """How long and how hard to train."""

    epochs: float
    batch: int = 96
    lr: float = 4e-3
    matrix_lr: float = 0.04
    decay: float = 0.02
    temperature: float = 1.5
    seed: int = 0


@dataclass(frozen=True)
class Guide:
    """What views show, for a trunk that already knows its teacher: an end-to-end second round.

    `head` maps features to the space; `anchors` [n, d] is where each view belongs there, `words` [n, e]
    the text vector by which two views agree, `known` [n] whether a view shows one thing.
    """

    head: nn.Module
    anchors: Tensor
    words: Tensor
    known: Tensor

    def loss(self, features: Tensor, rows: Tensor) -> Tensor:
        """Pull views to where they belong, and apart as their texts are apart."""
        rows, features = rows[self.known[rows]], features[self.known[rows]]
        out = F.normalize(self.head(features), dim=1)
        near = 1 - (out * self.anchors[rows]).sum(dim=1).mean()
        return soft_contrast(out, self.anchors[rows], self.words[rows], 0.06) + 2 * near


def spread(values: npt.NDArray[Any], rows: int = 4096) -> Tensor:
    """Standard deviation of each channel (last axis) over a sample of a pool's rows."""
    sample = np.asarray(values[:rows], dtype=np.float32).reshape(-1, values.shape[-1])
    return torch.from_numpy(sample.std(axis=0)).clamp_min(1e-3)


def batches(count: int, batch: int, steps: int, seed: int) -> Iterator[npt.NDArray[Any]]:
    """`steps` sorted index batches, every row once an epoch, in a seeded order."""
    rng = np.random.default_rng(seed)
    made = 0
    while True:
        order = rng.permutation(count)
        for start in range(0, count - batch + 1, batch):
            if made == steps:
                return
            made += 1
            yield np.sort(order[start : start + batch])


def network_input(values: npt.NDArray[Any]) -> Tensor:
    """Stored views -> what the trunk is given: pictures in -1..1 channels last, or log-mel."""
    tensor = torch.from_numpy(np.array(values))
    if tensor.dtype == torch.uint8:
        return tensor.permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)
    return tensor.float()[:, None].contiguous(memory_format=torch.channels_last)


def distil(
    trunk: Trunk,
    views: Views,
    classifier: Classifier,
    plan: DistilPlan,
    progress: Callable[[str], None],
    guide: Guide | None = None,
) -> None:
    """Train `trunk` in place on the pool; seeded, so the same pool gives the same trunk.

    With a guide, its head is trained along.
    """
    torch.manual_seed(plan.seed)
    count = len(views["input"])
    steps = max(1, int(plan.epochs * (count // plan.batch)))
    trunk.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    trunk.train()
    others = [guide.head] if guide else []
    optimiser = ConvOptimiser(trunk, others, plan.lr, plan.matrix_lr, plan.decay)
    scale = spread(views["features"])
    weight, bias = torch.from_numpy(classifier.weight), torch.from_numpy(classifier.bias)
    begun, seen = time.monotonic(), torch.zeros(2)
    for step, rows in enumerate(batches(count, plan.batch, steps, plan.seed)):
        inputs = network_input(views["input"][rows])
        target = torch.from_numpy(views["features"][rows]).float()
        with torch.autocast("cpu", torch.bfloat16):
            last = trunk.map(inputs)
        features = last.float().mean(dim=(2, 3))
        feature_loss = ((features - target) / scale).square().mean()
        score_loss = F.kl_div(
            F.log_softmax((features @ weight.T + bias) / plan.temperature, dim=-1),
            F.log_softmax((target @ weight.T + bias) / plan.temperature, dim=-1),
            log_target=True,
            reduction="batchmean",
        )
        loss = feature_loss + score_loss
        if guide:
            loss = loss + guide.loss(features, torch.from_numpy(rows))
        optimiser.step(loss, warm_cosine(step, steps, WARM_UP))
        seen += torch.stack([feature_loss, score_loss]).detach()
        if (step + 1) % 100 == 0:
            rate = (step + 1) * plan.batch / (time.monotonic() - begun)
            shown = " ".join(f"{x:.3f}" for x in (seen / 100).tolist())
            progress(f"step {step + 1}/{steps}: features, scores {shown}; {rate:.0f} views/s")
            seen.zero_()
    trunk.eval()


@torch.inference_mode()
def trunk_features(trunk: nn.Module, inputs: Tensor, batch: int = 128) -> Tensor:
    """Features [n, d] of network inputs, without gradients; in bfloat16, which heads are not sensitive to."""
    trunk.eval()
    inputs = inputs.contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        return torch.cat([trunk(inputs[k : k + batch]).float() for k in range(0, len(inputs), batch)])

"""A student taught stage by stage: each learns to answer the teacher's own maps as the teacher's stage does.

Given a trunk's stage, the teacher's own and what that is given, `fit_stage` trains it by itself. Small
networks are learnt far faster than a deep one, and what is learnt of a stage holds wherever its maps come
from: a stage that only sees edges and textures of groceries knows those of a dog as well, which a student
taught from end to end on so few pictures does not (Wang et al. 2018, "Progressive Blockwise Knowledge
Distillation for Neural Network Acceleration"). Maps are blended and blurred with noise on the way, and the
teacher answers for what it is shown. The weights begin at random; the teacher's are never copied.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from connectors.encoders.compact.conv_layers import Stage
from training.compact.distillation import network_input
from training.compact.optimisers import ConvOptimiser, warm_cosine
from training.compact.teacher_stages import TeacherStage

GRID = 12
"""Longest side of what is kept of a map: a piece of it, from a random place."""


@dataclass(frozen=True, slots=True)
class StagePlan:
    """How long and how hard a stage is trained."""

    steps: int
    positions: int = 4096
    lr: float = 4e-3
    matrix_lr: float = 0.03
    blended: float = 0.3
    noise: float = 0.1
    seed: int = 0


@torch.no_grad()
def write_maps(
    stages: Sequence[TeacherStage], inputs: npt.NDArray[Any], folder: Path, seed: int, batch: int = 32
) -> None:
    """What each stage is given for a pool's `inputs`: pieces of maps [n, h, w, c], one file a stage."""
    rng = np.random.default_rng(seed)
    kept: list[npt.NDArray[np.float16]] = []
    for start in range(0, len(inputs), batch):
        x = network_input(inputs[start : start + batch]).contiguous(memory_format=torch.channels_last)
        for k, stage in enumerate(stages):
            piece = crop(x, 4 * GRID if k == 0 else GRID, rng).permute(0, 2, 3, 1).half().numpy()
            if start == 0:
                kept.append(_file(folder / f"maps-{k}.npy", (len(inputs), *piece.shape[1:])))
            kept[k][start : start + len(piece)] = piece
            if k + 1 < len(stages):
                with torch.autocast("cpu", torch.bfloat16):
                    x = stage(x)


def _file(path: Path, shape: tuple[int, ...]) -> npt.NDArray[np.float16]:
    out: npt.NDArray[np.float16] = np.lib.format.open_memmap(path, "w+", np.float16, shape)  # type: ignore[no-untyped-call]
    return out


def crop(maps: Tensor, most: int, rng: np.random.Generator) -> Tensor:
    """A piece of maps [n, c, h, w], no side longer than `most`, from the same random place of each."""
    top, left = (int(rng.integers(max(1, side - most + 1))) for side in maps.shape[2:])
    return maps[:, :, top : top + most, left : left + most]


def fit_stage(
    student: Stage,
    teacher: TeacherStage,
    maps: npt.NDArray[np.float16],
    plan: StagePlan,
    progress: Callable[[str], None],
) -> float:
    """Train a student's stage in place; `maps` [n, h, w, c] are what the teacher's stage was given.

    Gives back the mean squared error on maps as they are, in shares of each channel's variance.
    """
    torch.manual_seed(plan.seed)
    student.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    batch = min(64, max(16, plan.positions // (maps.shape[1] * maps.shape[2])))
    some = _tensor(maps[:512])
    spread = some.std(dim=(0, 2, 3), keepdim=True)
    with torch.no_grad():
        answers = teacher.inner(some)
        scale = answers.std(dim=(0, 2, 3), keepdim=True) + 1e-3
        begin_at(student, answers.mean(dim=(0, 2, 3)), scale.flatten())
    optimiser = ConvOptimiser(student, (), plan.lr, plan.matrix_lr, 0.0)
    rng = np.random.default_rng(plan.seed)
    seen = 0.0
    for step in range(plan.steps):
        given = _blurred(maps, batch, spread, plan, rng)
        with torch.autocast("cpu", torch.bfloat16):
            with torch.no_grad():
                target = teacher.inner(given).float()
            answer = student.inner(given)
        loss = ((answer.float() - target) / scale).square().mean()
        optimiser.step(loss, warm_cosine(step, plan.steps, 30))
        seen += float(loss.detach())
        if (step + 1) % 1000 == 0:
            progress(f"step {step + 1}/{plan.steps}: error {seen / 1000:.4f}")
            seen = 0.0
    student.eval()
    with torch.no_grad():
        return float(((student.inner(some) - answers) / scale).square().mean())


def begin_at(student: nn.Module, mean: Tensor, spread: Tensor) -> None:
    """Give a student's answers the mean and the spread of the teacher's, channel by channel.

    They are far from 0 and 1 in the thin stages, and steps of one size would take long to get there.
    """
    last = [module for module in student.modules() if isinstance(module, nn.BatchNorm2d)][-1]
    last.bias.copy_(mean)
    last.weight.copy_(spread)


def _blurred(
    maps: npt.NDArray[np.float16], batch: int, spread: Tensor, plan: StagePlan, rng: np.random.Generator
) -> Tensor:
    """A batch of maps, some blended with another, all with more or less noise."""
    first, second = (np.sort(rng.integers(len(maps), size=batch)) for _ in "12")
    share = 0.5 * torch.rand(batch, 1, 1, 1) * (torch.rand(batch, 1, 1, 1) < plan.blended)
    given = torch.lerp(_tensor(maps[first]), _tensor(maps[rng.permutation(second)]), share)
    noise = torch.randn(batch, *maps.shape[1:]).permute(0, 3, 1, 2)  # drawn as it lies: much faster
    return given + plan.noise * torch.rand(batch, 1, 1, 1) * spread * noise


def _tensor(maps: npt.NDArray[np.float16]) -> Tensor:
    return torch.from_numpy(np.array(maps)).float().permute(0, 3, 1, 2)

"""The training loop: AdamW on a cosine, batches from seeded permutations, resumable at any step.

Given a model (C-MCR or Ex-MCR), its pseudo-pairs and the recipe's [optim], leaves the model trained and
gives the loss history. Every random choice is a function of (seed, step), so a run that was killed and
resumed ends with the weights of one that was not.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from math import cos, pi
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor, nn

from connectors.errors import ConfigError
from training.checkpoint import load_checkpoint, save_checkpoint
from training.cmcr import CMCR
from training.exmcr import ExMCR
from training.parallel import Group
from training.pseudo_pairs import PseudoPairs
from training.recipe import OptimOptions

Model: TypeAlias = CMCR | ExMCR


@dataclass(frozen=True, slots=True)
class RealPairs:
    """Rows that are truly pairs: base's other modality [N, d] and leaf's other modality [N, e]."""

    base: Tensor
    leaf: Tensor
    weight: float


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run is: after `step` of `steps`, with the last losses by name."""

    step: int
    steps: int
    losses: dict[str, float] = field(default_factory=dict)


class Trainer:
    """One run of the loop; `run` trains the model in place.

    Args:
        model: on the device that shall do the work.
        pairs: the union of the pools, on any device.
        options: the recipe's [optim].
        group: the processes of a torchrun; by default those of the environment.
        real: real pairs to mix in.
        checkpoint: a file to resume from if it is there, and to keep up to date.
        fingerprint: of the job, so that a checkpoint is never resumed by another one.
        on_step: called after every step.

    Raises:
        ConfigError: fewer than two rows a process.

    """

    def __init__(
        self,
        model: Model,
        pairs: PseudoPairs,
        options: OptimOptions,
        *,
        group: Group,
        real: RealPairs | None = None,
        checkpoint: Path | None = None,
        fingerprint: str = "",
        on_step: Callable[[Progress], None] | None = None,
    ) -> None:
        self.model, self.pairs, self.options, self.group = model, pairs, options, group
        self.real, self.checkpoint, self.fingerprint = real, checkpoint, fingerprint
        self.on_step = on_step
        self.device = next(model.parameters()).device
        self.batch = batch_rows(options, len(pairs), group)
        self.steps_per_epoch = len(pairs) // self.batch
        self.steps = self.steps_per_epoch * options.epochs
        self.optimizer = torch.optim.AdamW(
            model.parameters(), lr=options.lr, weight_decay=options.weight_decay
        )
        self.average = [p.detach().clone() for p in model.parameters()] if options.ema else []
        self.history: dict[str, Tensor] = {}
        self._epoch, self._order = -1, torch.empty(0, dtype=torch.long)

    def run(self) -> list[dict[str, float]]:
        """Train to the end, from the checkpoint if there is one; gives every step's losses by name.

        Raises `ConfigError` for a checkpoint of another job, `IntegrityError` for a damaged one.
        """
        self.model.train()
        for step in range(self._resume(), self.steps):
            self.step(step)
            if self.on_step is not None:
                now = {name: float(values[step]) for name, values in self.history.items()}
                self.on_step(Progress(step + 1, self.steps, now))
            if (step + 1) % self.options.checkpoint_steps == 0 or step + 1 == self.steps:
                self._save(step + 1)
        with torch.no_grad():
            for parameter, value in zip(self.model.parameters(), self.average, strict=False):
                parameter.copy_(value)
        self.model.eval()
        history = {name: values.tolist() for name, values in self.history.items()}
        return [{name: v[step] for name, v in history.items()} for step in range(self.steps)]

    def step(self, step: int) -> None:
        """Take step number `step` (0 is the first): one batch, one update."""
        o = self.options
        rows = self.pairs.rows(self._index(step)).to(self.device)
        draw = seeded(o.seed, "noise", step * self.group.size + self.group.rank, self.device)
        for parameters in self.optimizer.param_groups:
            parameters["lr"] = o.lr * schedule(step, self.steps, o.warmup)
        with torch.autocast(self.device.type, torch.bfloat16, o.precision == "bfloat16"):
            losses = self.model.loss(rows, draw, self.group.info_nce)
            if self.real is not None:
                losses["real"] = self._real_loss(self.real, step, len(rows))
                losses["loss"] = losses["loss"] + self.real.weight * losses["real"]
        self.optimizer.zero_grad(set_to_none=True)
        losses["loss"].backward()  # type: ignore[no-untyped-call]
        self.group.average_gradients(self.model)
        if o.clip:
            nn.utils.clip_grad_norm_(self.model.parameters(), o.clip)
        self.optimizer.step()
        # The average forgets its random start sooner than a constant decay would.
        decay = min(o.ema, (1 + step) / (10 + step))
        for mean, parameter in zip(self.average, self.model.parameters(), strict=False):
            mean.lerp_(parameter.detach(), 1 - decay)
        for name, value in losses.items():
            values = self.history.setdefault(name, torch.zeros(self.steps, device=self.device))
            values[step] = value.detach()

    def _index(self, step: int) -> Tensor:
        """Rows of this process in this step: an epoch is one permutation of all rows."""
        epoch, position = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            draw = seeded(self.options.seed, "epoch", epoch)
            self._epoch, self._order = epoch, torch.randperm(len(self.pairs), generator=draw)
        part = self._order[position * self.batch : (position + 1) * self.batch]
        return part[self.group.rank :: self.group.size]

    def _real_loss(self, real: RealPairs, step: int, rows: int) -> Tensor:
        """A fresh draw of real pairs beside each batch, the same number of rows in each process."""
        count = min(rows, len(real.base) // self.group.size)
        draw = seeded(self.options.seed, "real", step)
        index = torch.randperm(len(real.base), generator=draw)[self.group.rank :: self.group.size]
        base, leaf = (x[index[:count]].to(self.device) for x in (real.base, real.leaf))
        return self.model.real_loss(base, leaf, self.group.info_nce)

    def _resume(self) -> int:
        if self.checkpoint is None or not self.checkpoint.is_file():
            return 0
        step, extra = load_checkpoint(
            self.checkpoint,
            fingerprint=self.fingerprint,
            model=self.model,
            optimizer=self.optimizer,
        )
        self.average = [extra.pop(f"average.{i}").to(self.device) for i in range(len(self.average))]
        self.history = {name: values.to(self.device) for name, values in extra.items()}
        return step

    def _save(self, step: int) -> None:
        self.group.average_buffers(self.model)
        if self.checkpoint is not None and self.group.rank == 0:
            averages = {f"average.{i}": value for i, value in enumerate(self.average)}
            save_checkpoint(
                self.checkpoint,
                fingerprint=self.fingerprint,
                step=step,
                model=self.model,
                optimizer=self.optimizer,
                extra=self.history | averages,
            )


def batch_rows(options: OptimOptions, rows: int, group: Group) -> int:
    """Rows a step, of `rows` pseudo-pairs over the processes of a group.

    Raises `ConfigError` where that leaves a process fewer than the two that a contrast needs.
    """
    batch = min(options.batch_size, rows) // group.size * group.size
    if batch < 2 * group.size:
        raise ConfigError(
            f"a batch of {batch} rows over {group.size} processes: each needs two or more "
            "(raise optim.batch_size, or give feature sets of more items)"
        )
    return batch


def schedule(step: int, steps: int, warmup: float) -> float:
    """Share of the learning rate at a step: a linear rise, then half a cosine down to 0."""
    rise = warmup * steps
    if step < rise:
        return (step + 1) / (rise + 1)
    return (1 + cos(pi * (step - rise) / (steps - rise))) / 2


def seeded(seed: int, purpose: str, index: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator that depends on nothing but its arguments, so that a run can resume anywhere."""
    digest = hashlib.sha256(f"{seed}/{purpose}/{index}".encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:7], "big"))

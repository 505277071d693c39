"""Copies of an encoder, one a device, and where each runs.

`devices_meant` says which devices a setting names. Given a copy of an encoder on each of them, `replicas_of`
gives the `Replica`s that one worker runs side by side: on a GPU two, so that the next batch is prepared and
copied while one runs; on the sockets of a large machine one on each, with its own cores. Small encoders are
run side by side without being copied (`lanes_on_cpu`).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import nn

from connectors.encoder import Encoder
from service.engine.compute import ComputeThread

T = TypeVar("T")

STREAMS = 2
"""Batches under way at once on one GPU."""
SMALL_PARAMETERS = 20_000_000
"""An encoder of fewer gains hardly anything from a second core: its steps are too short to be shared."""
MOST_LANES = 8
"""Batches under way at once on the CPU, at most: what is Python in them runs one at a time."""


@dataclass(frozen=True, slots=True)
class Replica:
    """One copy of an encoder: on the CPU with the thread that computes for it, on a GPU with a stream."""

    encoder: Encoder
    compute: ComputeThread | None = None
    stream: "torch.cuda.Stream | None" = None

    def run(self, function: Callable[[], T]) -> T:
        """Run what uses the encoder where it is to be run; raises what it raises."""
        if self.compute is not None:
            return self.compute.run(function)
        with torch.cuda.stream(self.stream):
            return function()


def devices_meant(setting: str) -> list[str]:
    """The devices that get a copy of the encoders: those named, or for "auto" every GPU, else the CPU."""
    if setting != "auto":
        return [name.strip() for name in setting.split(",")]
    return [f"cuda:{i}" for i in range(torch.cuda.device_count())] or ["cpu"]


def lanes_on_cpu(encoders: Iterable[Encoder], cores: int) -> int:
    """How many batches are to run at once on so many cores: several if every encoder is small, else one.

    The lanes share the encoders and divide the cores.
    """
    small = all(
        isinstance(each, nn.Module) and sum(p.numel() for p in each.parameters()) < SMALL_PARAMETERS
        for each in encoders
    )
    return min(cores, MOST_LANES) if small else 1


def replicas_of(copies: Sequence[tuple[str, Encoder]], computing: Sequence[ComputeThread]) -> list[Replica]:
    """The replicas of an encoder's copies, given with their devices; `computing`: one each on the CPU."""
    on_cpu = [encoder for device, encoder in copies if not is_gpu(device)]
    replicas = [Replica(encoder, compute) for encoder, compute in zip(on_cpu, computing, strict=True)]
    for device, encoder in copies:
        if is_gpu(device):
            streams = [torch.cuda.Stream(device) for _ in range(STREAMS)]  # type: ignore[no-untyped-call]
            replicas += [Replica(encoder, stream=stream) for stream in streams]
    return replicas


def is_gpu(device: str) -> bool:
    """Whether a device is a GPU."""
    return device.startswith("cuda")

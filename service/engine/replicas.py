"""Copies of an encoder, and where each of its batches runs.

`devices_meant` says which devices a setting names. Given a copy of an encoder on each of them, `replicas_of`
gives the `Replica`s, one for every batch that one worker may have under way: on a GPU two, so that the next
is prepared and copied while one runs; on the CPU one a slot. The same encoder may be given for several slots
(`slots_on_cpu`), or, on the sockets of a large machine, a copy for each.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn

from connectors.encoder import Encoder
from service.engine.compute import ComputeThread, shares
from service.engine.cores import available_cores
from service.engine.cpu_slots import ALL_CORES, CpuSlots, SlotGrant

T = TypeVar("T")

STREAMS = 2
"""Batches under way at once on one GPU."""
SMALL_PARAMETERS = 20_000_000
"""An encoder of fewer gains hardly anything from a second core: its steps are too short to be shared."""
MOST_SLOTS = 8
"""Batches under way at once on the CPU, at most: what is Python in them runs one at a time."""


@dataclass(frozen=True, slots=True)
class RunContext:
    """What a batch is given to run with.

    `encoder` is the copy there, and `among` how many batches are to share the items that wait. `alone` tells
    that no other runs beside it or waits behind it: nobody is kept from the processor if it begins later.
    """

    encoder: Encoder
    among: int
    alone: bool


class Replica(Protocol):
    """Where one batch at a time of an encoder runs."""

    def run(self, function: Callable[[RunContext], T], waiting: Callable[[], int]) -> T:
        """Run what uses the encoder where it is to be run; raises what it raises.

        `waiting` tells how many items do.
        """


@dataclass(frozen=True, slots=True)
class OnGpu:
    """A copy on a GPU, with a stream of its own."""

    encoder: Encoder
    stream: "torch.cuda.Stream"

    def run(self, function: Callable[[RunContext], T], waiting: Callable[[], int]) -> T:
        """As `Replica.run`. A GPU does a large batch in the time of a small one: nothing is shared out."""
        with torch.cuda.stream(self.stream):
            return function(RunContext(self.encoder, among=1, alone=False))


@dataclass(frozen=True, slots=True)
class OnCpu:
    """A place on the slots, on any that is free; `copies` are the encoder as each slot has it."""

    copies: Sequence[Encoder]
    slots: CpuSlots
    small: bool

    def run(self, function: Callable[[RunContext], T], waiting: Callable[[], int]) -> T:
        """As `Replica.run`."""

        def on_slot(grant: SlotGrant) -> T:
            encoder = self.copies[0 if grant.slot == ALL_CORES else grant.slot]
            return function(RunContext(encoder, grant.among, grant.alone))

        return self.slots.run(on_slot, waiting, small=self.small)


def devices_meant(setting: str) -> list[str]:
    """The devices that get a copy of the encoders: those named, or for "auto" every GPU, else the CPU."""
    if setting != "auto":
        return [name.strip() for name in setting.split(",")]
    return [f"cuda:{i}" for i in range(torch.cuda.device_count())] or ["cpu"]


def slots_on_cpu(encoders: Iterable[Encoder], cores: int) -> int:
    """How many batches are to run at once on so many cores, with the same encoders.

    With large ones, for which all cores compute at times, a slot has one core, or there is one slot: the
    helper threads of both would be more than the cores.
    """
    if cores > MOST_SLOTS and not all(map(is_small, encoders)):
        return 1
    return min(cores, MOST_SLOTS)


def is_small(encoder: Encoder) -> bool:
    """Whether an encoder gains hardly anything from a second core."""
    return isinstance(encoder, nn.Module) and _numbers(encoder.state_dict().values()) < SMALL_PARAMETERS


def _numbers(weights: Iterable[object]) -> int:
    """How many numbers there are in the values of a state dict; quantised layers have theirs in pairs."""
    count = 0
    for each in weights:
        if isinstance(each, Tensor):
            count += each.numel()
        elif isinstance(each, tuple):
            count += _numbers(each)
    return count


def cpu_slots_for(copies: Sequence[Mapping[str, Encoder]]) -> CpuSlots:
    """A slot for each of the copies on the CPU: each all encoders, whose slots divide the cores.

    Where all are the same encoders, and some of them gain from it, a batch may have the cores of all.
    """
    slots = [ComputeThread(*share) for share in shares(len(copies))]
    same = len(copies) > 1 and all(each[name] is copies[0][name] for each in copies for name in each)
    whole = same and not all(map(is_small, copies[0].values()))
    return CpuSlots(slots, ComputeThread(available_cores()) if whole else None)


def replicas_of(copies: Sequence[tuple[str, Encoder]], slots: CpuSlots) -> list[Replica]:
    """The replicas of an encoder's copies, given with their devices; those on the CPU have a slot each."""
    on_cpu = [encoder for device, encoder in copies if not is_gpu(device)]
    replicas: list[Replica] = [OnCpu(on_cpu, slots, all(map(is_small, on_cpu)))] * len(on_cpu)
    for device, encoder in copies:
        if is_gpu(device):
            streams = [torch.cuda.Stream(device) for _ in range(STREAMS)]  # type: ignore[no-untyped-call]
            replicas += [OnGpu(encoder, stream) for stream in streams]
    return replicas


def is_gpu(device: str) -> bool:
    """Whether a device is a GPU."""
    return device.startswith("cuda")

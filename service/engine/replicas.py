"""Copies of an encoder, and where each of its batches runs.

`devices_meant` returns the devices that a setting names. Given a copy of an encoder on each of them,
`replicas_of` returns the `Replica`s, one for every batch that a worker may have under way: two on a GPU, so
that the next is prepared and copied while one runs; one per slot on the CPU. Several slots may share one
encoder (`slots_on_cpu`) or, on the sockets of a large machine, have a copy each.
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
"""An encoder with fewer gains hardly anything from a second core: its steps are too short to be shared."""
MOST_SLOTS = 8
"""Most batches under way at once on the CPU: their Python code runs one at a time."""


@dataclass(frozen=True, slots=True)
class RunContext:
    """The context a batch runs in.

    `encoder` is the copy there, and `among` the number of batches that share the waiting items. `alone` says
    that no other batch runs beside it or waits behind it: it may begin later and keep nobody waiting.
    """

    encoder: Encoder
    among: int
    alone: bool


class Replica(Protocol):
    """A place where one batch of an encoder runs at a time."""

    def run(self, function: Callable[[RunContext], T], waiting: Callable[[], int]) -> T:
        """Run a function of the encoder here and return its result. Raises what it raises.

        `waiting` returns the number of waiting items.
        """


@dataclass(frozen=True, slots=True)
class OnGpu:
    """A copy on a GPU, with a stream of its own."""

    encoder: Encoder
    stream: "torch.cuda.Stream"

    def run(self, function: Callable[[RunContext], T], waiting: Callable[[], int]) -> T:
        """Run as `Replica.run` does. A GPU does a large batch as fast as a small one: none is shared."""
        with torch.cuda.stream(self.stream):
            return function(RunContext(self.encoder, among=1, alone=False))


@dataclass(frozen=True, slots=True)
class OnCpu:
    """A place on any CPU slot that is free; `copies` are each slot's copy of the encoder."""

    copies: Sequence[Encoder]
    slots: CpuSlots
    small: bool

    def run(self, function: Callable[[RunContext], T], waiting: Callable[[], int]) -> T:
        """Run as `Replica.run` does."""

        def on_slot(grant: SlotGrant) -> T:
            encoder = self.copies[0 if grant.slot == ALL_CORES else grant.slot]
            return function(RunContext(encoder, grant.among, grant.alone))

        return self.slots.run(on_slot, waiting, small=self.small)


def devices_meant(setting: str) -> list[str]:
    """Return the devices that get the encoders: those named, or for "auto" every GPU, else the CPU."""
    if setting != "auto":
        return [name.strip() for name in setting.split(",")]
    return [f"cuda:{i}" for i in range(torch.cuda.device_count())] or ["cpu"]


def slots_on_cpu(encoders: Iterable[Encoder], cores: int) -> int:
    """Return how many batches run at once on so many cores, with the same encoders.

    Large encoders compute on all cores at times. With them a slot has one core, or there is one slot: else
    the helper threads would outnumber the cores.
    """
    if cores > MOST_SLOTS and not all(map(is_small, encoders)):
        return 1
    return min(cores, MOST_SLOTS)


def is_small(encoder: Encoder) -> bool:
    """Return whether an encoder gains hardly anything from a second core."""
    return isinstance(encoder, nn.Module) and _numbers(encoder.state_dict().values()) < SMALL_PARAMETERS


def _numbers(weights: Iterable[object]) -> int:
    """Return how many numbers the values of a state dict hold; quantised layers have theirs in tuples."""
    count = 0
    for each in weights:
        if isinstance(each, Tensor):
            count += each.numel()
        elif isinstance(each, tuple):
            count += _numbers(each)
    return count


def cpu_slots_for(copies: Sequence[Mapping[str, Encoder]]) -> CpuSlots:
    """Return a slot for each of the copies on the CPU; each copy is all encoders, the slots divide the cores.

    Where the copies are the same encoders, and some of them gain from it, a batch may have all cores.
    """
    slots = [ComputeThread(*share) for share in shares(len(copies))]
    same = len(copies) > 1 and all(each[name] is copies[0][name] for each in copies for name in each)
    whole = same and not all(map(is_small, copies[0].values()))
    return CpuSlots(slots, ComputeThread(available_cores()) if whole else None)


def replicas_of(copies: Sequence[tuple[str, Encoder]], slots: CpuSlots) -> list[Replica]:
    """Return the replicas of an encoder's copies, given with their devices; one per slot on the CPU."""
    on_cpu = [encoder for device, encoder in copies if not is_gpu(device)]
    replicas: list[Replica] = [OnCpu(on_cpu, slots, all(map(is_small, on_cpu)))] * len(on_cpu)
    for device, encoder in copies:
        if is_gpu(device):
            streams = [torch.cuda.Stream(device) for _ in range(STREAMS)]  # type: ignore[no-untyped-call]
            replicas += [OnGpu(encoder, stream) for stream in streams]
    return replicas


def is_gpu(device: str) -> bool:
    """Return whether a device is a GPU."""
    return device.startswith("cuda")

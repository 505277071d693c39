"""Copies of an encoder, one a device, and where each runs.

`devices_meant` says which devices a setting names. Given a copy of an encoder on each of them, `replicas_of`
gives the `Replica`s that one worker runs side by side: on a GPU two, so that the next batch is prepared and
copied while one runs; on the sockets of a large machine one on each, with its own cores.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from connectors.encoder import Encoder, Prepared
from service.engine.cores import available_cores, numa_nodes

STREAMS = 2
"""Batches under way at once on one GPU."""


@dataclass(frozen=True, slots=True)
class Replica:
    """One copy of an encoder, for one thread: how many cores it may use, and which if that matters."""

    encoder: Encoder
    threads: int
    cores: frozenset[int] | None = None
    stream: "torch.cuda.Stream | None" = None

    def encode(self, batch: Sequence[Prepared]) -> Tensor:
        """Native vectors of prepared items of one modality: float32 [n, d] on the CPU, L2-normalised."""
        with torch.cuda.stream(self.stream) if self.stream else nullcontext():
            return self.encoder.encode_prepared(batch)


def devices_meant(setting: str) -> list[str]:
    """The devices that get a copy of the encoders: those named, or for "auto" every GPU, else the CPU."""
    if setting != "auto":
        return [name.strip() for name in setting.split(",")]
    return [f"cuda:{i}" for i in range(torch.cuda.device_count())] or ["cpu"]


def replicas_of(copies: Sequence[tuple[str, Encoder]]) -> list[Replica]:
    """The replicas of one encoder's copies, given with their devices."""
    cores, nodes = available_cores(), numa_nodes()
    on_cpu = [encoder for device, encoder in copies if not device.startswith("cuda")]
    replicas = []
    for i, encoder in enumerate(on_cpu):
        own = nodes[i % len(nodes)] if len(on_cpu) > 1 and len(nodes) > 1 else None
        replicas.append(Replica(encoder, max(1, cores // len(on_cpu)), own))
    for device, encoder in copies:
        if device.startswith("cuda"):
            streams = [torch.cuda.Stream(device) for _ in range(STREAMS)]  # type: ignore[no-untyped-call]
            replicas += [Replica(encoder, cores, stream=stream) for stream in streams]
    return replicas

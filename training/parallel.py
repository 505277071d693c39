"""Data parallelism: several processes share every batch and see each other's negatives.

Given a torch.distributed group (or none: one process), gives its rank and size, an InfoNCE over the
gathered batch, and averages of gradients and buffers. Started by torchrun; a step over W processes has
the gradient of the same step in one process, but for BatchNorm, whose statistics are each process's own.
"""

import os
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.functional import cross_entropy

from training.losses import info_nce

LONGEST_WAIT = timedelta(days=2)
"""How long a process waits for another: while the first makes pseudo-pairs, the others do. NCCL's own limit
of ten minutes would end a run of the papers' size."""


class Group:
    """The processes of one run. A context manager: leaving it closes the process group it opened."""

    def __init__(self) -> None:
        self._opened = False
        if "WORLD_SIZE" in os.environ and not distributed.is_initialized():
            backend = "nccl" if torch.cuda.is_available() else "gloo"
            distributed.init_process_group(backend, timeout=LONGEST_WAIT)
            self._opened = True
        active = distributed.is_initialized()
        self.rank: int = distributed.get_rank() if active else 0
        self.size: int = distributed.get_world_size() if active else 1

    @property
    def device(self) -> torch.device:
        """The accelerator of this process, or the CPU."""
        if torch.cuda.is_available():
            return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        return torch.device("cpu")

    def info_nce(self, x: Tensor, y: Tensor, temperature: float) -> Tensor:
        """Equation 4 over the rows of all processes; this process's rows [n, d] are the queries.

        The mean over processes is the InfoNCE of the gathered batch.
        """
        if self.size == 1:
            return info_nce(x, y, temperature)
        all_x, all_y = gather(x.float()), gather(y.float())
        target = torch.arange(len(x), device=x.device) + self.rank * len(x)
        with torch.autocast(x.device.type, enabled=False):
            forth = cross_entropy(x.float() @ all_y.T / temperature, target)
            back = cross_entropy(y.float() @ all_x.T / temperature, target)
        return (forth + back) / 2

    def average_gradients(self, model: nn.Module) -> None:
        """Replace each gradient by its mean over the processes."""
        self._average([p.grad for p in model.parameters() if p.grad is not None])

    def average_buffers(self, model: nn.Module) -> None:
        """Replace each floating buffer (BatchNorm's running statistics) by its mean."""
        self._average([buffer for buffer in model.buffers() if buffer.is_floating_point()])

    def wait(self) -> None:
        """Hold every process until all are here."""
        if self.size > 1:
            distributed.barrier()

    def _average(self, tensors: list[Tensor]) -> None:
        if self.size == 1 or not tensors:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        distributed.all_reduce(flat)
        flat /= self.size
        for tensor, part in zip(tensors, torch.split(flat, [t.numel() for t in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))

    def close(self) -> None:
        """Leave the process group, if this object joined it."""
        if self._opened:
            distributed.destroy_process_group()
            self._opened = False

    def __enter__(self) -> "Group":
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        if error is None:
            # A process that leaves while another still talks to it can take gloo's threads down with it.
            self.wait()
        self.close()


class _Gather(torch.autograd.Function):
    """Rows of all processes, in rank order; the gradient comes back from all of them."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        parts = [torch.empty_like(x) for _ in range(distributed.get_world_size())]
        distributed.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        total = grads[0].contiguous()
        distributed.all_reduce(total)
        return total.chunk(distributed.get_world_size())[distributed.get_rank()]


def gather(x: Tensor) -> Tensor:
    """Rows [n, d] of every process, [W n, d], differentiable. All processes must have the same n."""
    gathered: Tensor = _Gather.apply(x)  # type: ignore[no-untyped-call]
    return gathered

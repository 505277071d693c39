"""The card: its memory, its clock and the number formats it may use, as one process sees them.

Everything here is of this process; no setting of the card itself is read or written. On the CPU there is
no memory to tell of, and nothing to wait for.
"""

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

NOTHING_LEFT = 4 * 2**20
"""Bytes by which memory may differ and still be called given back."""


def is_card(device: str) -> bool:
    """Return whether a device is a GPU."""
    return device.startswith("cuda")


def begin(device: str) -> None:
    """Open the card for this process, and have everything go there that names no other."""
    if is_card(device):
        torch.cuda.set_device(device)
        torch.zeros(1, device=device)


def wait(device: str) -> None:
    """Wait until the card has done what it was given."""
    if is_card(device):
        torch.cuda.synchronize(device)


def give_back(device: str) -> None:
    """Free what nothing refers to, and hand cached memory back to the card."""
    gc.collect()
    if is_card(device):
        torch.cuda.synchronize(device)
        torch.cuda.empty_cache()


def held_bytes(device: str) -> int:
    """Bytes that tensors hold, once what nothing refers to is freed; 0 on the CPU."""
    give_back(device)
    return torch.cuda.memory_allocated(device) if is_card(device) else 0


def forget_peak(device: str) -> None:
    """Begin anew to look for the most memory held."""
    if is_card(device):
        torch.cuda.reset_peak_memory_stats(device)


def peak_bytes(device: str) -> int | None:
    """The most bytes that tensors held since `forget_peak`; None on the CPU."""
    return torch.cuda.max_memory_allocated(device) if is_card(device) else None


@contextmanager
def little_memory(device: str, more: int) -> Iterator[None]:
    """Let this process have only so many bytes more than its tensors hold now."""
    give_back(device)
    total = torch.cuda.get_device_properties(device).total_memory
    share = (torch.cuda.memory_reserved(device) + more) / total
    torch.cuda.set_per_process_memory_fraction(min(1.0, share), device)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Let float32 products and convolutions be TF32, or not; as before afterwards."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("high" if allowed else "highest")
    torch.backends.cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


def best_seconds(device: str, rounds: int, *works: Callable[[], object]) -> list[float]:
    """The best time of each work after a warm-up; they take turns."""
    best = [float("inf")] * len(works)
    for turn in range(rounds + 1):
        for index, work in enumerate(works):
            wait(device)
            started = time.perf_counter()
            work()
            wait(device)
            if turn:
                best[index] = min(best[index], time.perf_counter() - started)
    return best


def rate(device: str, work: Callable[[], int], seconds: float) -> float:
    """Items a second of work that tells how many it did, after two turns to warm up."""
    work()
    work()
    wait(device)
    done, started = 0, time.perf_counter()
    while not done or time.perf_counter() - started < seconds:
        done += work()
        wait(device)
    wait(device)
    return done / (time.perf_counter() - started)


def about(device: str) -> dict[str, object]:
    """Return what the figures were measured with."""
    found: dict[str, object] = {"torch": torch.__version__, "device": "cpu"}
    if is_card(device):
        properties = torch.cuda.get_device_properties(device)
        found |= {
            "device": properties.name,
            "memory_gib": round(properties.total_memory / 2**30, 1),
            "capability": f"{properties.major}.{properties.minor}",
            "cuda": torch.version.cuda,
        }
    return found

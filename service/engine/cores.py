"""The cores this process may use, and how many of them torch takes for a thread's operations.

Its affinity and its container's quota limit the cores; NUMA nodes say which are on one socket.
"""

import math
import os
from pathlib import Path

import torch

QUOTA_FILE = Path("/sys/fs/cgroup/cpu.max")
NODES = Path("/sys/devices/system/node")


def available_cores(quota_file: Path = QUOTA_FILE) -> int:
    """Return the number of cores to plan threads for, at least 1. A container's quota of 1.5 counts as 2."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    try:
        quota, period = quota_file.read_text(encoding="ascii").split()
        if quota != "max":
            cores = min(cores, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):
        pass  # no cgroup v2 here: the affinity is all there is to know
    return max(1, cores)


def compute_on(cores: int) -> None:
    """Have torch run the operations of the calling thread on so many cores, whatever others ask for.

    A thread's first look at its number sets it to what any thread asked for last: the look comes first here,
    or the encoders would be left with the one core of the decoders.
    """
    torch.get_num_threads()
    torch.set_num_threads(cores)


def numa_nodes(directory: Path = NODES) -> list[frozenset[int]]:
    """Return the cores this process may use, node by node; one empty set where the nodes are not known."""
    affinity = getattr(os, "sched_getaffinity", None)
    allowed = affinity(0) if affinity else set()
    nodes = []
    for file in sorted(directory.glob("node[0-9]*/cpulist")):
        cores: set[int] = set()
        for part in file.read_text(encoding="ascii").strip().split(","):
            first, _, last = part.partition("-")
            cores |= set(range(int(first), int(last or first) + 1)) if first else set()
        if cores & allowed:
            nodes.append(frozenset(cores & allowed))
    return nodes or [frozenset()]

"""How many cores this process may use: its affinity, and the quota of the container it runs in."""

import math
import os
from pathlib import Path

QUOTA_FILE = Path("/sys/fs/cgroup/cpu.max")


def available_cores(quota_file: Path = QUOTA_FILE) -> int:
    """Cores to plan threads for, at least 1. A container's quota of 1.5 cores counts as 2."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    try:
        quota, period = quota_file.read_text(encoding="ascii").split()
        if quota != "max":
            cores = min(cores, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):
        pass  # no cgroup v2 here: the affinity is all there is to know
    return max(1, cores)

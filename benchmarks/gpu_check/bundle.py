"""The bundle that the check serves: full-size encoders with random weights, in the small run `compact`.

Written once, in a folder that is deleted at the end.
"""

import tempfile
from functools import cache
from pathlib import Path

from benchmarks.gpu_check.sizes import Sizes
from benchmarks.http_load import full_size
from connectors.bundle import load_bundle
from connectors.space import UnifiedSpace

SCRATCH = tempfile.TemporaryDirectory(prefix="gpu-check-", ignore_cleanup_errors=True)
"""Deleted with the process, or by `SCRATCH.cleanup()`."""


def path(sizes: Sizes) -> str:
    """The bundle's folder, or the name of the one that ships."""
    return "compact" if sizes.small else _full()


def said(sizes: Sizes) -> str:
    """The ending of the names of figures that the small bundle gave."""
    return ", compact" if sizes.small else ""


def load(sizes: Sizes, device: str) -> UnifiedSpace:
    """The bundle on a device, in the number format that the service chooses there."""
    return load_bundle(path(sizes), device=device, dtype="auto")


@cache
def _full() -> str:
    return str(full_size.write(Path(SCRATCH.name) / "full"))

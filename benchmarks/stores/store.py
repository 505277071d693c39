"""What is measured: something that keeps vectors in a folder and finds the nearest ones."""

from pathlib import Path
from typing import Protocol

import numpy as np

from benchmarks.stores.mixture import Data


class Store(Protocol):
    """One back end or reference. Its steps once, then `open`, `search` and `close`, any number of times."""

    filters: bool
    """Whether it can search among some of the vectors only."""
    steps: tuple[str, ...]
    """How it is built: `ingest`, and `optimise` where that is apart."""

    def ingest(self, folder: Path, data: Data) -> None:
        """Take in all vectors, in an empty folder."""

    def optimise(self, folder: Path) -> None:
        """Index what was taken in."""

    def open(self, folder: Path) -> None:
        """Open what was built."""

    def search(self, query: np.ndarray, admitted: str) -> set[int]:
        """The numbers of the TOP nearest vectors; `admitted` is a key of `mixture.FILTERS`."""

    def pids(self) -> list[int]:
        """Its processes besides this one."""

    def close(self) -> None:
        """Let go of everything."""

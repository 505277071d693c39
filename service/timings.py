"""The time of a request: seconds in each stage, of each item and of the whole."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Stages:
    """Seconds one item spent waiting, being decoded and in the encoder's batch."""

    queue: float = 0.0
    decode: float = 0.0
    inference: float = 0.0


@dataclass(slots=True)
class Timings:
    """One request's time. Seconds, on `time.perf_counter`'s clock."""

    started: float = field(default_factory=time.perf_counter)
    queue: float = 0.0
    decode: float = 0.0
    inference: float = 0.0
    index: float = 0.0
    _indexing: int = 0
    _index_started: float = 0.0

    def add(self, stages: Iterable[Stages]) -> None:
        """Add items that went through the engine together: each stage lasts as long as its slowest item."""
        for stage in stages:
            self.queue = max(self.queue, stage.queue)
            self.decode = max(self.decode, stage.decode)
            self.inference = max(self.inference, stage.inference)

    @contextmanager
    def indexing(self) -> Iterator[None]:
        """Count the time of a block as the index's; blocks that overlap count once."""
        if not self._indexing:
            self._index_started = time.perf_counter()
        self._indexing += 1
        try:
            yield
        finally:
            self._indexing -= 1
            if not self._indexing:
                self.index += time.perf_counter() - self._index_started

    def seconds(self) -> dict[str, float]:
        """Return the seconds in each stage so far."""
        return {"queue": self.queue, "decode": self.decode, "inference": self.inference, "index": self.index}

    def milliseconds(self) -> dict[str, float]:
        """Return the milliseconds in each stage so far, and in total."""
        stages = {**self.seconds(), "total": time.perf_counter() - self.started}
        return {name: round(seconds * 1000, 3) for name, seconds in stages.items()}

"""The encoders with no server around them: what decoding costs, and embedding in batches of each size."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from connectors import Prepared, load_bundle

BATCHES = (1, 8, 32)


@dataclass(frozen=True)
class Costs:
    """Milliseconds an item: to decode it on one core, and to embed it in batches of each size on all."""

    decode: float
    encode: Mapping[int, float]

    @property
    def best(self) -> float:
        """Milliseconds an item at the best batch size."""
        return min(self.encode.values())


class RawLoop:
    """A bundle's encoders and decoded items of each kind, in this process."""

    def __init__(self, bundle: str, contents: Mapping[str, Sequence[bytes]]) -> None:
        self._space = load_bundle(bundle)
        self._decode: dict[str, float] = {}
        self._prepared: dict[str, list[Prepared]] = {}
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        for kind, files in contents.items():
            started = time.perf_counter()
            self._prepared[kind] = [
                self._space.prepare(kind, self._space.decode(kind, each)) for each in files
            ]
            self._decode[kind] = (time.perf_counter() - started) / len(files) * 1000
        torch.set_num_threads(threads)

    def costs(self, kind: str) -> Costs:
        """What a kind costs."""
        encode = {}
        for size in BATCHES:
            self._embed(kind, self._prepared[kind][:size])
            started = time.perf_counter()
            for start in range(0, len(self._prepared[kind]), size):
                self._embed(kind, self._prepared[kind][start : start + size])
            encode[size] = (time.perf_counter() - started) / len(self._prepared[kind]) * 1000
        return Costs(self._decode[kind], encode)

    def one_by_one(self, kind: str, seconds: float) -> list[float]:
        """Milliseconds that each took of as many items as there is time for, one after the other."""
        took: list[float] = []
        end = time.perf_counter() + seconds
        while (started := time.perf_counter()) < end:
            prepared = self._prepared[kind]
            self._embed(kind, [prepared[len(took) % len(prepared)]])
            took.append((time.perf_counter() - started) * 1000)
        return took

    def _embed(self, kind: str, batch: Sequence[Prepared]) -> None:
        self._space.project(kind, self._space.encode_prepared(batch))

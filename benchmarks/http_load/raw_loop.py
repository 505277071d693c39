"""The encoders with no server around them: what decoding costs, and embedding in batches of each size."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from connectors import load_bundle

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


def costs(bundle: str, contents: Mapping[str, Sequence[bytes]]) -> dict[str, Costs]:
    """What each kind costs in this process."""
    space = load_bundle(bundle)
    found = {}
    threads = torch.get_num_threads()
    for kind, files in contents.items():
        torch.set_num_threads(1)
        started = time.perf_counter()
        prepared = [space.prepare(kind, space.decode(kind, each)) for each in files]
        decode = (time.perf_counter() - started) / len(files) * 1000
        torch.set_num_threads(threads)
        encode = {}
        for size in BATCHES:
            space.project(kind, space.encode_prepared(prepared[:size]))
            started = time.perf_counter()
            for start in range(0, len(prepared), size):
                space.project(kind, space.encode_prepared(prepared[start : start + size]))
            encode[size] = (time.perf_counter() - started) / len(files) * 1000
        found[kind] = Costs(decode, encode)
    return found

"""Running an encoder over many examples: decoding in threads while the network is busy.

Given batches of examples, gives back their native vectors in order, and says which examples could not be
used and why. Neither decoded media nor vectors pile up: two batches are in the making at any time.
"""

from collections import deque
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from connectors.encoder import Encoder, Prepared
from connectors.errors import MediaError
from connectors.modality import Modality
from training.examples import Example, load

AHEAD = 2
"""Batches being decoded while one is in the network."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """An example that could not be embedded."""

    example: Example
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class EncodedBatch:
    """What became of one batch: `vectors` float32 [n, dim] belong to `examples`, in their order."""

    examples: list[Example]
    vectors: Tensor
    skipped: list[Skipped]


def encoded_batches(
    encoder: Encoder, modality: Modality, batches: Iterable[Sequence[Example]], *, workers: int = 2
) -> Generator[EncodedBatch, None, None]:
    """Encode batch after batch. Bad media are skipped; an error of the network itself is raised."""

    def prepare(example: Example) -> Prepared:
        return encoder.prepare(load(example, modality), modality)

    pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")
    try:
        upcoming = iter(batches)
        waiting: deque[list[tuple[Example, Future[Prepared]]]] = deque()

        def submit() -> None:
            for batch in islice(upcoming, AHEAD - len(waiting)):
                waiting.append([(example, pool.submit(prepare, example)) for example in batch])

        submit()
        while waiting:
            batch = waiting.popleft()
            submit()
            yield _encode(encoder, batch)
    finally:
        pool.shutdown(cancel_futures=True)


def _encode(encoder: Encoder, batch: Sequence[tuple[Example, Future[Prepared]]]) -> EncodedBatch:
    examples: list[Example] = []
    prepared: list[Prepared] = []
    skipped: list[Skipped] = []
    for example, future in batch:
        try:
            prepared.append(future.result())
        except MediaError as error:
            skipped.append(Skipped(example, error.code, error.message))
        else:
            examples.append(example)
    if not prepared:
        return EncodedBatch([], torch.zeros(0, encoder.dim), skipped)
    vectors = encoder.encode_prepared(prepared)
    finite = vectors.isfinite().all(1)
    skipped += [
        Skipped(example, "not_finite", f"{encoder.name} gave a vector that is not finite")
        for example, good in zip(examples, finite.tolist(), strict=True)
        if not good
    ]
    kept = [example for example, good in zip(examples, finite.tolist(), strict=True) if good]
    return EncodedBatch(kept, vectors[finite], skipped)

"""A batch that fails for want of memory, in the service's engine: all its items are embedded all the same.

On a card the process is allowed less memory than the batch needs; on the CPU the encoder says it had none.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch

from benchmarks._rows import Row, at_least, at_most
from benchmarks.gpu_check import bundle, card
from benchmarks.gpu_check.encoders import prepared
from benchmarks.gpu_check.findings import Note
from benchmarks.gpu_check.steps import Found, Scene, Step
from connectors.encoder import Prepared
from service.engine.engine import Engine
from service.metrics import Metrics
from service.settings import Settings

SHARE = 4
"""The batch is given the memory of a batch so many times smaller."""
DIFFERENT = 64
SAME = 0.02
"""Largest difference of half-precision vectors between batches of different sizes."""


def steps() -> list[Step]:
    """The one step."""
    return [Step("a batch that does not fit in memory", failed_batch, least=30, most=60)]


def failed_batch(scene: Scene) -> Found:
    """Embed a crowd of pictures with all the memory there is, with a part of it, and with all again."""
    yield from asyncio.run(_measured(scene))


async def _measured(scene: Scene) -> list[Row | Note]:
    crowd, device = scene.sizes.crowd, scene.device
    name = f"{crowd} pictures, memory for {crowd // SHARE}{bundle.said(scene.sizes)}"
    space = bundle.load(scene.sizes, device)
    encoder: Any = space.encoder_of("image")
    different = prepared(encoder, "image", min(crowd, DIFFERENT))
    pictures = [different[i % len(different)] for i in range(crowd)]
    need = _bytes_for(encoder, pictures, device)
    settings = Settings(device=device, cache_items=0, max_batch=crowd, batch_seconds=60.0)
    engine = await Engine.start(space, settings, Metrics())
    try:
        await _vectors(engine, pictures)  # both streams have what they keep before the memory is read
        whole, _ = await _vectors(engine, pictures)
        before = card.held_bytes(device)
        scarce = card.little_memory(device, need // SHARE) if scene.on_card else nullcontext()
        with _counted(encoder, None if scene.on_card else crowd // SHARE) as failures, scarce:
            divided, lost = await _vectors(engine, pictures)
        left = card.held_bytes(device) - before
        again, lost_again = await _vectors(engine, pictures)
    finally:
        await engine.close()
    return [
        at_least(f"{name}: batches that failed and were halved", len(failures), "batches", 1),
        at_most(f"{name}: items that failed", lost + lost_again, "items", 0),
        at_most(
            f"{name}: vectors against those with all of it", _error(divided, whole), "relative error", SAME
        ),
        at_most(f"{name}: vectors afterwards", _error(again, whole), "relative error", SAME),
        at_most(f"{name}: not given back", left / 2**20, "MiB", card.NOTHING_LEFT / 2**20)
        if scene.on_card
        else Note(f"{name}: not given back", "needs a GPU"),
    ]


def _bytes_for(encoder: Any, batch: Sequence[Prepared], device: str) -> int:
    """Return the most memory that a batch takes beyond the weights."""
    encoder.encode_prepared(batch)
    before = card.held_bytes(device)
    card.forget_peak(device)
    encoder.encode_prepared(batch)
    return (card.peak_bytes(device) or 0) - before


@contextmanager
def _counted(encoder: Any, most: int | None) -> Iterator[list[int]]:
    """Note the sizes of the batches that memory did not suffice for; `most`: of more items it never does."""
    failed: list[int] = []
    encode = encoder.encode_prepared

    def counting(batch: Sequence[Prepared]) -> torch.Tensor:
        try:
            if most is not None and len(batch) > most:
                raise torch.OutOfMemoryError("as if")
            return encode(batch)
        except torch.OutOfMemoryError:
            failed.append(len(batch))
            raise

    encoder.encode_prepared = counting
    try:
        yield failed
    finally:
        del encoder.encode_prepared


async def _vectors(engine: Engine, items: Sequence[Prepared]) -> tuple[np.ndarray, int]:
    """Native vectors of items that all wait at once, zeros for those that failed, and how many did."""
    worker = engine.workers[engine.space.space_of("image")]
    futures = [worker.submit(object(), item) for item in items]
    outcomes = await asyncio.gather(*futures, return_exceptions=True)
    lost = [each for each in outcomes if isinstance(each, BaseException)]
    empty = np.zeros(engine.space.encoder_of("image").dim, np.float32)
    found = [empty if isinstance(each, BaseException) else each.vectors.native for each in outcomes]
    return np.stack(found), len(lost)


def _error(vectors: np.ndarray, reference: np.ndarray) -> float:
    """The worst distance of two rows; all have unit length."""
    return float(np.linalg.norm(vectors - reference, axis=1).max())

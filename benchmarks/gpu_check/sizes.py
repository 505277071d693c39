"""Sizes: how much of everything is measured, on a card and in the small run on the CPU."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
    """Counts of a run. `blocks`: None for whole encoders, else so many blocks of each are built."""

    small: bool
    blocks: int | None
    """Blocks an encoder is cut to."""
    parity_items: int
    parity_batches: tuple[int, ...]
    compared_on_cpu: int
    crowd: int
    """Items sent at once to an encoder that has memory for a part of them."""

    raw_batches: tuple[int, ...]
    raw_seconds: float
    parts_batch: int
    files: int
    texts: int
    concurrency: int
    bulk: int
    load_seconds: float

    dim: int
    queries: int
    memories: int
    step_rows: int
    step_rounds: int
    paper_texts: int
    paper_images: int
    paper_sounds: int
    epochs: int | None
    """None: as many as the recipe has."""
    projected: int

    @property
    def said(self) -> str:
        """The ending of the names of figures measured smaller than it should be."""
        return ", cut short" if self.blocks else ""


FULL = Sizes(
    small=False,
    blocks=None,
    parity_items=32,
    parity_batches=(1, 8, 64, 512),
    compared_on_cpu=4,
    crowd=512,
    raw_batches=(8, 32, 128, 512),
    raw_seconds=1.0,
    parts_batch=32,
    files=384,
    texts=4096,
    concurrency=256,
    bulk=32,
    load_seconds=4.0,
    dim=512,
    queries=10_240,
    memories=1_800_000,
    step_rows=10_240,
    step_rounds=10,
    paper_texts=2_330_000,
    paper_images=1_300_000,
    paper_sounds=1_800_000,
    epochs=None,
    projected=10_000_000,
)

SMALL = Sizes(
    small=True,
    blocks=1,
    parity_items=2,
    parity_batches=(1, 2),
    compared_on_cpu=1,
    crowd=8,
    raw_batches=(1, 4),
    raw_seconds=0.1,
    parts_batch=2,
    files=8,
    texts=32,
    concurrency=4,
    bulk=4,
    load_seconds=0.2,
    dim=64,
    queries=64,
    memories=1_000,
    step_rows=32,
    step_rounds=2,
    paper_texts=48,
    paper_images=32,
    paper_sounds=40,
    epochs=2,
    projected=10_000,
)

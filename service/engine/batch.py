"""Batching: the choice of the waiting items that make the next batch.

Holds `QueuedItem`, one prepared item in an encoder's queue, and `next_batch`, which takes those of one
modality.
"""

import asyncio
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from itertools import islice

from connectors.encoder import Prepared
from connectors.modality import Modality
from service.engine.embedding import Vectors
from service.engine.fair_queue import FairQueue

LOOKAHEAD = 4
"""Batches' worth of items that are searched for items of similar length."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """An item's result: its vectors, and the seconds it waited and its batch took."""

    vectors: Vectors
    waited: float
    took: float


@dataclass(frozen=True, slots=True, eq=False)
class QueuedItem:
    """One prepared item of a request, its flow, and the future that waits for its vectors."""

    flow: Hashable
    prepared: Prepared
    future: "asyncio.Future[Encoded]"
    entered: float

    @property
    def rows(self) -> int:
        """The rows of a batch it fills: one, or one per window of long audio."""
        return len(self.prepared.rows)


def next_batch(
    queue: FairQueue[QueuedItem], max_rows: int, in_time: Mapping[Modality, int] | None = None
) -> list[QueuedItem]:
    """Take the next batch out of a queue: at most `max_rows` rows, but at least one item, of one modality.

    `in_time` bounds the rows further, modality by modality: a text is done sooner than an image.
    The item whose turn it is always goes; with it go those of the next in turn that are nearest to its
    length, so that little is padded. Items that nobody waits for any more are dropped on the way. Returns an
    empty list only if nothing was left.
    """
    abandoned: list[tuple[Hashable, QueuedItem]] = []
    candidates: list[tuple[Hashable, QueuedItem]] = []
    for flow, item in islice(queue.in_turn(), LOOKAHEAD * max_rows):
        (abandoned if item.future.cancelled() else candidates).append((flow, item))
    chosen: list[tuple[Hashable, QueuedItem]] = []
    if candidates:
        first = candidates[0][1].prepared
        most = min(max_rows, (in_time or {}).get(first.modality, max_rows))
        alike = [entry for entry in candidates if entry[1].prepared.modality == first.modality]
        alike.sort(key=lambda entry: abs(entry[1].prepared.length - first.length))
        rows = 0
        for entry in alike:
            rows += entry[1].rows
            if chosen and rows > most:
                break
            chosen.append(entry)
    queue.remove(abandoned + chosen)
    return [item for _, item in chosen]

"""The split of the data folder into items that train and items that validate, with no leak between them.

Given the records of `data_folder_records`, it gives back the groups held out: whole recordings of sound,
whole mesh groups (a name within an artist, or a shape and its copies) with the renders that show them,
whole concept groups of emoji, whole labels or senders of photos. The choice hangs on a hash of the
group's name alone: it is the same on every machine, and adding items moves nothing else.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

HELD_OUT = 0.15
"""Share of picture and mesh groups held out."""

HELD_OUT_RECORDINGS = 0.2
"""Share of each label's recordings held out: clips are few, and one a class is no measure."""


class Grouped(Protocol):
    """Anything with a group and a name."""

    @property
    def group(self) -> str:
        """The unit that stays whole."""

    @property
    def name(self) -> str:
        """The label."""


Item = TypeVar("Item", bound=Grouped)


def position(group: str) -> float:
    """The place of a group in [0, 1): uniform over groups, fixed for each."""
    digest = hashlib.sha256(f"isthmus-compact/{group}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def held_out_groups(groups: Iterable[str], share: float = HELD_OUT) -> frozenset[str]:
    """The groups whose hash falls below `share`."""
    return frozenset(group for group in groups if position(group) < share)


def held_out_recordings(clips: Sequence[Grouped], share: float = HELD_OUT_RECORDINGS) -> frozenset[str]:
    """Recordings held out: of every label, the share of its recordings with the lowest hashes.

    A label with fewer than three recordings keeps them all in training; a recording held out for
    one label is held out for every label it has.
    """
    by_label: dict[str, set[str]] = defaultdict(set)
    for clip in clips:
        by_label[clip.name].add(clip.group)
    chosen: set[str] = set()
    for groups in by_label.values():
        if len(groups) >= 3:
            ranked = sorted(groups, key=position)
            chosen.update(ranked[: max(1, round(share * len(groups)))])
    return frozenset(chosen)


def split(items: Sequence[Item], held_out: frozenset[str]) -> tuple[list[Item], list[Item]]:
    """Training items and validation items, in their order."""
    train = [item for item in items if item.group not in held_out]
    return train, [item for item in items if item.group in held_out]

"""Pseudo-pairs: rows of four embeddings that mean the same, made from memories that are not paired.

Given `Memories` (the overlapping modality in both spaces, row for row the same items; and one other
modality of each space, paired with nothing), gives `PseudoPairs`. Each modality takes its turn as the
query (Ex-MCR's modality-centric data); what it does not have itself is read from memory by `aggregate`.

Sources: C-MCR (arXiv 2305.14381), semantic consistency; Ex-MCR (arXiv 2310.08884), modality-centric
data; equations 1 and 3 of docs/training.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from training.aggregation import Weighting, aggregate
from training.losses import semantic_completion

Role: TypeAlias = Literal["base_overlap", "base_other", "leaf_overlap", "leaf_other"]
ROLES: tuple[Role, ...] = ("base_overlap", "base_other", "leaf_overlap", "leaf_other")

Query: TypeAlias = Literal["overlap", "leaf", "base"]
"""Which modality asks: the overlapping one, the leaf's other one or the base's other one."""

ASKING: dict[Query, Role] = {"overlap": "base_overlap", "leaf": "leaf_other", "base": "base_other"}
"""Whose rows a query's pool has (the overlap's are the same items in both spaces)."""


@dataclass(frozen=True, slots=True)
class Memories:
    """What a connection is learnt from; each [rows, dim], L2-normalised.

    Only `base_overlap` and `leaf_overlap` are rows of the same items. In the running example: t^I, t^A,
    V and A.
    """

    base_overlap: Tensor
    leaf_overlap: Tensor
    base_other: Tensor
    leaf_other: Tensor

    def means(self) -> dict[Role, Tensor]:
        """The mean of each memory, [dim]: where its modality sits in its space."""
        return {role: getattr(self, role).float().mean(0) for role in ROLES}

    def rows(self, query: Query) -> int:
        """How many pseudo-pairs a query's pool has: one for each item that asks."""
        return len(getattr(self, ASKING[query]))

    def centred(self) -> "Memories":
        """Equation 11 on each memory: about its own mean, normalised again. No modality gap is left."""
        means = self.means()
        moved = {role: F.normalize(getattr(self, role) - means[role], dim=1) for role in ROLES}
        return Memories(**moved)


@dataclass(frozen=True, slots=True)
class PseudoPairs:
    """Row i of all four means the same; each [N, dim], L2-normalised. t^I, v^I, t^A and a."""

    base_overlap: Tensor
    base_other: Tensor
    leaf_overlap: Tensor
    leaf_other: Tensor

    def __len__(self) -> int:
        return len(self.base_overlap)

    def rows(self, index: Tensor) -> "PseudoPairs":
        """Take rows by index, int64 [n]."""
        return PseudoPairs(*(getattr(self, field.name)[index] for field in fields(self)))

    def completed(self, variance: float, generator: torch.Generator | None) -> "PseudoPairs":
        """Equation 2 on all four: each a noisy draw about itself."""
        return PseudoPairs(
            *(semantic_completion(getattr(self, field.name), variance, generator) for field in fields(self))
        )

    def to(self, device: torch.device | str, dtype: torch.dtype = torch.float32) -> "PseudoPairs":
        """Copy to a device, in a floating dtype."""
        return PseudoPairs(*(getattr(self, field.name).to(device, dtype) for field in fields(self)))


def concatenate(pools: Sequence[PseudoPairs]) -> PseudoPairs:
    """Join several pools: the union that trains one projector."""
    names = [field.name for field in fields(PseudoPairs)]
    return PseudoPairs(*(torch.cat([getattr(pool, name) for pool in pools]) for name in names))


def make_pseudo_pairs(
    memories: Memories,
    query: Query,
    *,
    weighting: Weighting = "soft",
    temperature: float = 0.01,
    top_k: int = 8,
    dtype: torch.dtype = torch.float32,
) -> PseudoPairs:
    """Equation 3: the pool whose queries are one modality (options as `aggregate` has them).

    - overlap: t^I, t^A as they are; v~ = agg(t^I, V, V); a~ = agg(t^A, A, A)
    - leaf: w = softmax(a T^Aᵀ / τ1) reads t~^A = normalize(w T^A) and t~^I = normalize(w T^I), the same
      weights since the texts are the same; then v~ = agg(t~^I, V, V)
    - base: the mirror image; w = softmax(v T^Iᵀ / τ1) reads both, then a~ = agg(t~^A, A, A)
    """
    m = memories

    def agg(queries: Tensor, keys: Tensor, *values: Tensor) -> tuple[Tensor, ...]:
        return aggregate(
            queries,
            keys,
            *values,
            weighting=weighting,
            temperature=temperature,
            top_k=top_k,
            dtype=dtype,
        )

    if query == "overlap":
        (base_other,) = agg(m.base_overlap, m.base_other, m.base_other)
        (leaf_other,) = agg(m.leaf_overlap, m.leaf_other, m.leaf_other)
        return PseudoPairs(m.base_overlap, base_other, m.leaf_overlap, leaf_other)
    if query == "leaf":
        leaf_overlap, base_overlap = agg(m.leaf_other, m.leaf_overlap, m.leaf_overlap, m.base_overlap)
        (base_other,) = agg(base_overlap, m.base_other, m.base_other)
        return PseudoPairs(base_overlap, base_other, leaf_overlap, m.leaf_other)
    base_overlap, leaf_overlap = agg(m.base_other, m.base_overlap, m.base_overlap, m.leaf_overlap)
    (leaf_other,) = agg(leaf_overlap, m.leaf_other, m.leaf_other)
    return PseudoPairs(base_overlap, m.base_other, leaf_overlap, leaf_other)

"""Where the relevant targets of each query land, and what that is worth.

Given queries, targets and an identity for each row, gives per-query recall, average precision and rank.
Scores that are equal are not put in any order: every figure is its expectation over all orders of the
tied targets, in closed form, so that nothing is gained by embedding everything alike and the outcome hangs
on no row's position. The score of an all-tied ranking is then, exactly, the chance level.

Expected average precision: McSherry and Najork, "Computing Information Retrieval Performance Measures
Efficiently in the Presence of Tied Scores", ECIR 2008, section 3.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

TIE = 1e-6
"""Cosines this close are tied: products of unit float32 vectors are no more exact."""

BLOCK_SCORES = 2**24
"""Scores held at once: 64 MiB of float32, and about four times that while they are sorted."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The fate of each query, float64 [n]: `recall[k]`, average precision, rank of its first relevant."""

    recall: dict[int, Tensor]
    average_precision: Tensor
    rank: Tensor


def standing(
    queries: Tensor, targets: Tensor, query_ids: Tensor, target_ids: Tensor, depths: Sequence[int]
) -> Standing:
    """Rank all targets [m, d] for each query [n, d] by cosine, a block of queries at a time.

    A target is relevant to a query of the same id (int64 [n], [m]). Every query must have a relevant
    target. Memory is bounded by `BLOCK_SCORES`, or one row of m scores where that is more.
    """
    queries, targets = F.normalize(queries.float(), dim=1), F.normalize(targets.float(), dim=1)
    query_ids, target_ids = query_ids.to(queries.device), target_ids.to(queries.device)
    by_id = torch.argsort(target_ids, stable=True)
    sorted_ids = target_ids[by_id].contiguous()
    first = torch.searchsorted(sorted_ids, query_ids)
    relevant = torch.searchsorted(sorted_ids, query_ids, right=True) - first
    # Every score is sorted; a relevant one also passes through a dozen float64 terms.
    rows = max(1, BLOCK_SCORES // (len(targets) + 8 * int(relevant.max())))
    blocks = []
    for offset in range(0, len(queries), rows):
        part = slice(offset, offset + rows)
        start, count = first[part], relevant[part]
        scores = queries[part] @ targets.T
        slots = torch.arange(int(count.max()), device=scores.device)
        empty = slots >= count[:, None]
        columns = by_id[(start[:, None] + slots).clamp(max=len(targets) - 1)]
        hits = scores.gather(1, columns).masked_fill(empty, -torch.inf)
        above, tied = _above_and_tied(scores, hits)
        hits_above, hits_tied = _above_and_tied(hits, hits)
        blocks.append(_fate(above, tied, hits_above, hits_tied, empty, count.double(), depths))
    return Standing(
        {k: torch.cat([block.recall[k] for block in blocks]) for k in depths},
        torch.cat([block.average_precision for block in blocks]),
        torch.cat([block.rank for block in blocks]),
    )


def chance(relevant: Tensor, targets: int, depths: Sequence[int]) -> Standing:
    """What a random ranking of `targets` is worth to queries with `relevant` [n] relevant ones each."""
    column = relevant.double()[:, None]
    zeros, empty = torch.zeros_like(column), torch.zeros_like(column, dtype=torch.bool)
    everything = torch.full_like(column, targets)
    fate = _fate(zeros, everything, zeros, column, empty, torch.ones_like(relevant.double()), depths)
    return Standing(fate.recall, fate.average_precision, fate.rank)


def _above_and_tied(scores: Tensor, of: Tensor) -> tuple[Tensor, Tensor]:
    """For each value of `of` [b, r]: how many of its row's scores [b, m] are higher, how many tied."""
    ascending = scores.sort(dim=1).values
    higher = torch.searchsorted(ascending, of + TIE, right=True)
    lower = torch.searchsorted(ascending, of - TIE)
    return (scores.shape[1] - higher).double(), (higher - lower).double()


def _fate(
    above: Tensor,
    tied: Tensor,
    hits_above: Tensor,
    hits_tied: Tensor,
    empty: Tensor,
    relevant: Tensor,
    depths: Sequence[int],
) -> Standing:
    """Expectations over the order within ties; arguments are [b, r], one column a relevant target.

    Each relevant target lies in a group of `tied` targets, `hits_tied` of them relevant, after `above`
    targets, `hits_above` of them relevant. Slots that are `empty` hold no target and count for nothing.
    """
    # Precision at a relevant target, averaged over its places i = 1..tied in the group, where
    # hits_above + 1 + (i - 1) (hits_tied - 1) / (tied - 1) relevant ones are expected up to it.
    spread = (hits_tied - 1) / (tied - 1).clamp(min=1)
    harmonic = torch.special.digamma(above + tied + 1) - torch.special.digamma(above + 1)
    precision = spread + (hits_above + 1 - spread * (above + 1)) * harmonic / tied
    average_precision = precision.masked_fill(empty, 0).sum(1) / relevant

    best = above.masked_fill(empty, torch.inf).argmin(1, keepdim=True)
    above, tied, hits = (x.gather(1, best).squeeze(1) for x in (above, tied, hits_tied))
    recall = {k: 1 - _all_missed(tied, hits, (k - above).clamp(min=0)) for k in depths}
    # The median place of the first of `hits` among `tied`: (t + 1) / 2 for one, and t for all of t.
    place = 0.5 + (tied - (hits - 1) / 2) * (1 - 0.5 ** (1 / hits))
    return Standing(recall, average_precision, above + place.clamp(min=1))


def _all_missed(tied: Tensor, hits: Tensor, drawn: Tensor) -> Tensor:
    """Probability that `drawn` of `tied` targets hold none of the `hits`: hypergeometric."""
    others = tied - hits
    enough = drawn <= others
    drawn = torch.minimum(drawn, others)
    logarithm = (
        torch.lgamma(others + 1)
        - torch.lgamma(others - drawn + 1)
        + torch.lgamma(tied - drawn + 1)
        - torch.lgamma(tied + 1)
    )
    return torch.where(enough, logarithm.exp(), 0.0)

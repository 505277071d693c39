"""Search: the hits of every modality, fetched from the index and merged into one ranking.

`search` takes a query's parts (`service.search.query`) and the parameters, asks the index for each modality's
hits, and merges them.
"""

import asyncio
import itertools
import math
from collections import Counter
from collections.abc import Sequence
from functools import partial

from connectors.space import UnifiedSpace
from service.errors import InvalidRequest
from service.index.protocol import Hit
from service.pipeline import Pipeline
from service.schemas.requests import SearchParams
from service.search.diversity import diversified, without_duplicates
from service.search.scoring import (
    QueryPart,
    Ranked,
    best_of_each,
    combine,
    merge,
    quota_of,
    rank,
    score,
    within_quota,
)
from service.timings import Timings

MAX_DEPTH = 10_000
"""Most hits fetched of one modality; `offset` and `limit` together are at most this."""
OVERFETCH = 4
"""Factor by which a search is deeper where hits are left out."""
DIVERSE_HITS = 200
"""Number of best hits that `diversity` reorders; `offset` and `limit` together are at most this."""


async def search(
    pipeline: Pipeline,
    timings: Timings,
    space: UnifiedSpace,
    parts: Sequence[QueryPart],
    params: SearchParams,
) -> list[Ranked]:
    """Return the hits asked for, best first.

    Each modality's hits are fetched so deep that nothing left in the index could precede a returned hit:
    pages join into one ranking, whichever hits are left out. Raises `CollectionConflict` where the index no
    longer holds `space`, which the parts are in.
    """
    vector = combine(parts)
    targets = list(dict.fromkeys(params.target_modalities or space.modalities))
    page = slice(params.offset, params.offset + params.limit)
    wanted = page.stop if params.diversity is None else DIVERSE_HITS
    selective = params.group_by is not None or params.dedupe is not None
    depth = min(wanted * OVERFETCH, MAX_DEPTH) if selective else wanted
    with_vectors = (
        params.with_vectors or params.explain or params.dedupe is not None or params.diversity is not None
    )
    while True:
        find = partial(
            pipeline.index.search_each,
            params.collection,
            vector,
            depth,
            targets,
            where=params.filter,
            with_vectors=with_vectors,
            connector=space.connector_version,
        )
        found = await pipeline.call_index(timings, find)
        scored = [_scored(space, parts, target, hits) for target, hits in zip(targets, found, strict=True)]
        choose = partial(select, scored, depth, params)
        # Comparing thousands of hits with one another takes a second: not on the event loop.
        chosen, complete = choose() if params.dedupe is None else await asyncio.to_thread(choose)
        if complete or len(chosen) >= wanted or depth >= MAX_DEPTH:
            if params.diversity is not None:
                diversify = partial(diversified, chosen[:wanted], params.diversity, space.calibration)
                chosen = await asyncio.to_thread(diversify)
            return chosen[page]
        depth = min(depth * OVERFETCH, MAX_DEPTH)


def select(scored: Sequence[Sequence[Ranked]], depth: int, params: SearchParams) -> tuple[list[Ranked], bool]:
    """Return the certain part of the ranking, given each modality's best `depth` hits, and if it is all.

    Left out are scores below the threshold, then near-duplicates, then all but the best of each group, then
    hits past a quota. Hits after the last one of a modality that has more are not certain: a hit that was not
    fetched may precede them.
    """
    least = -math.inf if params.score_threshold is None else params.score_threshold
    chosen = [each for each in merge(itertools.chain(*scored)) if each.score >= least]
    if params.dedupe is not None:
        chosen = without_duplicates(chosen, params.dedupe)
    if params.group_by is not None:
        chosen = best_of_each(chosen, params.group_by)
    chosen = within_quota(chosen, params.quota)
    taken = Counter(each.hit.point.modality for each in chosen)
    frontiers = []
    for hits in scored:
        if len(hits) == depth and hits[-1].score >= least:
            modality = hits[-1].hit.point.modality
            # A hit past its modality's quota is still the one its group would have had.
            if params.group_by is not None or taken[modality] < quota_of(params.quota, modality):
                frontiers.append(rank(hits[-1]))
    if not frontiers:
        return chosen, True
    return [each for each in chosen if rank(each) <= min(frontiers)], False


def check_depth(params: SearchParams, max_results: int) -> None:
    """Raise `InvalidRequest` for a limit, or an offset and limit, that is too large."""
    if params.limit > max_results:
        raise InvalidRequest(f"limit is {params.limit}; at most {max_results} are served", "limit")
    if params.offset + params.limit > MAX_DEPTH:
        raise InvalidRequest(
            f"offset and limit together are {params.offset + params.limit}; at most {MAX_DEPTH} are served; "
            "narrow the search with a filter",
            "offset",
        )
    if params.diversity is not None and params.offset + params.limit > DIVERSE_HITS:
        raise InvalidRequest(
            f"with diversity offset and limit together are at most {DIVERSE_HITS}, not "
            f"{params.offset + params.limit}",
            "limit",
        )


def _scored(
    space: UnifiedSpace, parts: Sequence[QueryPart], target: str, hits: Sequence[Hit]
) -> list[Ranked]:
    scores = score(space.calibration, parts, target, [hit.cosine for hit in hits])
    return [Ranked(hit, value) for hit, value in zip(hits, scores, strict=True)]

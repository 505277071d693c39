"""Search, from a query's parts to ranked hits.

Given the runtime, the parts and the parameters, `search` asks the index for each modality and merges what it
gives; `resolve` turns a query as it was written into parts.
"""

import asyncio
import itertools
import math
from collections import Counter
from collections.abc import Sequence
from functools import partial

import numpy as np

from connectors.errors import IsthmusError
from connectors.modality import MODALITIES, Modality
from connectors.space import UnifiedSpace
from service.bodies import QueryItem, SearchParams
from service.diversity import diversified, without_duplicates
from service.engine.media_input import MediaInput
from service.engine.projection import project
from service.entry import embed_inputs
from service.errors import BatchFailed, InvalidRequest, ItemError, NotFound
from service.index.protocol import Hit, StoredPoint
from service.ranking import (
    QueryPart,
    Ranked,
    best_of_each,
    combine,
    merge,
    quota_of,
    score,
    within_quota,
)
from service.request_context import RequestContext
from service.request_reader import off_loop
from service.runtime import Runtime

MAX_DEPTH = 10_000
"""How deep one modality's results are looked into: `offset` and `limit` together stay below it."""
OVERFETCH = 4
"""How many times deeper than asked for it is looked where hits are left out."""
DIVERSE_HITS = 200
"""The best hits that `diversity` orders anew: `offset` and `limit` together stay below it."""


async def resolve(
    runtime: Runtime,
    context: RequestContext,
    space: UnifiedSpace,
    items: Sequence[QueryItem | tuple[MediaInput, float]],
    collection: str,
    seconds_left: float,
) -> list[QueryPart]:
    """The parts of a query in `space`, given as JSON items or as uploaded media with weights.

    Raises `BatchFailed` telling of every item that cannot be used.
    """
    parts: list[QueryPart | IsthmusError | None] = [None] * len(items)
    inputs: dict[int, MediaInput | IsthmusError] = {}
    weights: list[float] = []
    for i, item in enumerate(items):
        if isinstance(item, tuple):
            inputs[i], weight = item
            weights.append(weight)
            continue
        weights.append(item.weight)
        if (written := item.written()) is not None:
            inputs[i] = await off_loop(partial(item.media_input, f"query[{i}]"), len(written))
        elif item.vector is not None:
            parts[i] = _given_vector(space, item, i)
    stored_ids = {i: item.id for i, item in enumerate(items) if isinstance(item, QueryItem) and item.id}
    stored = await _stored_vectors(runtime, context, space, collection, stored_ids, weights)
    for i, part in stored.items():
        parts[i] = part
    if inputs:
        outcomes = await embed_inputs(runtime, context, list(inputs.values()), seconds_left, space)
        for i, outcome in zip(inputs, outcomes, strict=True):
            if isinstance(outcome, IsthmusError):
                parts[i] = outcome
            else:
                parts[i] = QueryPart(outcome.vectors.unified, weights[i], outcome.modality)
    errors = [ItemError(i, part) for i, part in enumerate(parts) if isinstance(part, IsthmusError)]
    if errors:
        raise BatchFailed(errors, "query")
    return [part for part in parts if isinstance(part, QueryPart)]


async def search(
    runtime: Runtime,
    context: RequestContext,
    space: UnifiedSpace,
    parts: Sequence[QueryPart],
    params: SearchParams,
) -> list[Ranked]:
    """The hits asked for, best first.

    Each modality's hits are fetched so deep that nothing left in the index could come before what is
    given: pages join into one ranking, whatever is left out of it on the way. Raises `CollectionConflict`
    where the index no longer holds `space`, which the parts are in.
    """
    vector = combine(parts)
    targets: Sequence[Modality] = list(dict.fromkeys(params.target_modalities or MODALITIES))
    page = slice(params.offset, params.offset + params.limit)
    wanted = page.stop if params.diversity is None else DIVERSE_HITS
    selective = params.group_by is not None or params.dedupe is not None
    depth = min(wanted * OVERFETCH, MAX_DEPTH) if selective else wanted
    with_vectors = params.with_vectors or params.explain or params.dedupe is not None
    while True:
        found = await asyncio.gather(
            *(
                runtime.call_index(
                    context,
                    partial(
                        runtime.index.search,
                        params.collection,
                        vector,
                        depth,
                        modality=target,
                        where=params.filter,
                        with_vectors=with_vectors or params.diversity is not None,
                        connector=space.connector_version,
                    ),
                )
                for target in targets
            )
        )
        scored = [_scored(space, parts, target, hits) for target, hits in zip(targets, found, strict=True)]
        choose = partial(select, scored, depth, params)
        # Every hit against every other takes a second of thousands: the event loop has others to answer.
        chosen, complete = choose() if params.dedupe is None else await asyncio.to_thread(choose)
        if complete or len(chosen) >= wanted or depth >= MAX_DEPTH:
            if params.diversity is not None:
                calibration = runtime.space.calibration
                chosen = await asyncio.to_thread(diversified, chosen[:wanted], params.diversity, calibration)
            return chosen[page]
        depth = min(depth * OVERFETCH, MAX_DEPTH)


def select(scored: Sequence[Sequence[Ranked]], depth: int, params: SearchParams) -> tuple[list[Ranked], bool]:
    """What is certain of the final ranking, given each modality's best `depth` hits, and if it is all of it.

    Left out are scores below the threshold, then near-duplicates, then all but the best of each group, then
    what passes a quota. What scores below the last hit of a modality that goes on is not certain: a hit that
    was not fetched may come before it.
    """
    least = -math.inf if params.score_threshold is None else params.score_threshold
    chosen = [each for each in merge(itertools.chain(*scored)) if each.score >= least]
    if params.dedupe is not None:
        chosen = without_duplicates(chosen, params.dedupe)
    if params.group_by is not None:
        chosen = best_of_each(chosen, params.group_by)
    chosen = within_quota(chosen, params.quota)
    taken = Counter(each.hit.point.modality for each in chosen)
    frontier = -math.inf
    for hits in scored:
        if len(hits) == depth and hits[-1].score >= least:
            modality = hits[-1].hit.point.modality
            if taken[modality] < quota_of(params.quota, modality):
                frontier = max(frontier, hits[-1].score)
    return [each for each in chosen if each.score >= frontier], frontier == -math.inf


def check_depth(params: SearchParams, max_results: int) -> None:
    """Raise `InvalidRequest` for a limit, or an offset and limit, past what is served."""
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
    space: UnifiedSpace, parts: Sequence[QueryPart], target: Modality, hits: Sequence[Hit]
) -> list[Ranked]:
    scores = score(space.calibration, parts, target, [hit.cosine for hit in hits])
    return [Ranked(hit, value) for hit, value in zip(hits, scores, strict=True)]


def _given_vector(space: UnifiedSpace, item: QueryItem, index: int) -> QueryPart | IsthmusError:
    vector = np.asarray(item.vector, dtype=np.float32)
    dim = space.dim
    norm = float(np.linalg.norm(vector))
    if vector.shape != (dim,) or not np.isfinite(norm) or norm == 0.0:
        return InvalidRequest(
            f"query[{index}].vector has {vector.size} numbers and length {norm:g}; "
            f"give {dim} finite numbers that are not all zero",
            f"query[{index}].vector",
        )
    return QueryPart(vector / norm, item.weight, None)


async def _stored_vectors(
    runtime: Runtime,
    context: RequestContext,
    space: UnifiedSpace,
    collection: str,
    ids: dict[int, str],
    weights: Sequence[float],
) -> dict[int, QueryPart | IsthmusError]:
    if not ids:
        return {}
    points = await runtime.call_index(
        context, partial(runtime.index.get, collection, list(ids.values()), with_vectors=True)
    )
    by_id: dict[str, StoredPoint] = {point.id: point for point in points}
    parts: dict[int, QueryPart | IsthmusError] = {}
    for i, point_id in ids.items():
        point = by_id.get(point_id)
        if point is None or point.unified is None or point.native is None:
            parts[i] = NotFound(
                f"there is no point {point_id!r} in collection {collection!r}", f"query[{i}].id"
            )
        else:
            unified = point.unified
            if point.payload.get("connector") != space.connector_version:
                unified = project(space, point.modality, point.native[None])[0]
            parts[i] = QueryPart(unified, weights[i], point.modality)
    return parts

"""A query: its parts, resolved into vectors of one space.

Holds the sources of a part (media, a stored point, a vector) and `resolve`, which turns them into
`QueryPart`s.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np

from connectors.errors import IsthmusError
from connectors.space import UnifiedSpace
from service.engine.embedding import project
from service.engine.media_input import MediaInput
from service.errors import BatchFailed, InvalidRequest, ItemError, NotFound
from service.index.protocol import StoredPoint
from service.pipeline import Pipeline
from service.search.scoring import QueryPart
from service.timings import Timings


@dataclass(frozen=True, slots=True, eq=False)
class QueryMedia:
    """Media to embed, or the error where it could not be read."""

    media: MediaInput | IsthmusError
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class QueryPoint:
    """A stored point, by its id."""

    id: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class QueryVector:
    """A vector of the unified space, of any length but zero."""

    vector: Sequence[float]
    weight: float = 1.0


QuerySource: TypeAlias = QueryMedia | QueryPoint | QueryVector


async def resolve(
    pipeline: Pipeline,
    timings: Timings,
    space: UnifiedSpace,
    sources: Sequence[QuerySource],
    collection: str,
    seconds_left: float,
) -> list[QueryPart]:
    """Return the parts of a query in `space`.

    Raises `BatchFailed` with every part that cannot be used.
    """
    parts: list[QueryPart | IsthmusError | None] = [None] * len(sources)
    media: dict[int, QueryMedia] = {}
    points: dict[int, QueryPoint] = {}
    for i, source in enumerate(sources):
        if isinstance(source, QueryMedia):
            media[i] = source
        elif isinstance(source, QueryPoint):
            points[i] = source
        else:
            parts[i] = _given_vector(space, source, i)
    for i, part in (await _stored_vectors(pipeline, timings, space, collection, points)).items():
        parts[i] = part
    if media:
        inputs = [each.media for each in media.values()]
        outcomes = await pipeline.embed(timings, inputs, seconds_left, space)
        for (i, source), outcome in zip(media.items(), outcomes, strict=True):
            if isinstance(outcome, IsthmusError):
                parts[i] = outcome
            else:
                vectors = outcome.vectors
                parts[i] = QueryPart(vectors.unified, source.weight, outcome.modality, vectors)
    errors = [ItemError(i, part) for i, part in enumerate(parts) if isinstance(part, IsthmusError)]
    if errors:
        raise BatchFailed(errors, "query")
    return [part for part in parts if isinstance(part, QueryPart)]


def _given_vector(space: UnifiedSpace, source: QueryVector, index: int) -> QueryPart | IsthmusError:
    vector = np.asarray(source.vector, dtype=np.float32)
    dim = space.dim
    norm = float(np.linalg.norm(vector))
    if vector.shape != (dim,) or not np.isfinite(norm) or norm == 0.0:
        return InvalidRequest(
            f"query[{index}].vector has {vector.size} numbers and length {norm:g}; "
            f"give {dim} finite numbers that are not all zero",
            f"query[{index}].vector",
        )
    return QueryPart(vector / norm, source.weight, None)


async def _stored_vectors(
    pipeline: Pipeline,
    timings: Timings,
    space: UnifiedSpace,
    collection: str,
    sources: dict[int, QueryPoint],
) -> dict[int, QueryPart | IsthmusError]:
    if not sources:
        return {}
    ids = [source.id for source in sources.values()]
    found = await pipeline.call_index(
        timings, partial(pipeline.index.get, collection, ids, with_vectors=True)
    )
    by_id: dict[str, StoredPoint] = {point.id: point for point in found}
    parts: dict[int, QueryPart | IsthmusError] = {}
    for i, source in sources.items():
        point = by_id.get(source.id)
        if point is None or point.unified is None or point.native is None:
            parts[i] = NotFound(
                f"there is no point {source.id!r} in collection {collection!r}", f"query[{i}].id"
            )
        else:
            unified = point.unified
            if point.payload.get("connector") != space.connector_version:
                unified = project(space, point.modality, point.native[None])[0]
            parts[i] = QueryPart(unified, source.weight, point.modality)
    return parts

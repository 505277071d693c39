"""Ties: equal hits at the end of an answer, which a back end cuts anywhere among them."""

from dataclasses import replace

from service.index.backend import IndexBackend, Query
from service.index.records import Record

DEEPER = 4
"""Factor by which more is asked for where equal hits go on to the end of what came."""


def query_with_ties(
    backend: IndexBackend, name: str, query: Query, with_vectors: bool, exact: bool, most: int
) -> list[list[Record]]:
    """Return what `IndexBackend.query` does, with equal records in the order of their ids, and cut in it.

    One record more than the query's limit shows whether the cut parts equal ones. Only then are more asked
    for, up to `most` and one; of a longer row of equal records those that came are taken. There may be
    thousands, so they are fetched with their ids alone, and the rest only of those that are taken.
    """
    limit, depth = query.limit, query.limit + 1
    answers = backend.query(name, replace(query, limit=depth), with_vectors, exact)
    parted = [i for i, records in enumerate(answers) if _cut_parts(records, limit, depth)]
    whole = {each.uuid: each for i in parted for each in answers[i]}
    deepened = parted
    while parted and depth <= most:
        depth = min(depth * DEEPER, most + 1)
        deeper = replace(query, filters=tuple(query.filters[i] for i in parted), limit=depth, ids_only=True)
        for i, records in zip(parted, backend.query(name, deeper, False, exact), strict=True):
            answers[i] = records
        parted = [i for i in parted if _cut_parts(answers[i], limit, depth)]
    taken = [sorted(records, key=_rank)[:limit] for records in answers]
    missing = list({each.uuid: None for i in deepened for each in taken[i] if each.uuid not in whole})
    if missing:
        whole |= {each.uuid: each for each in backend.retrieve(name, missing, with_vectors)}
    for i in deepened:  # a record that is not there any more was deleted meanwhile
        taken[i] = [replace(whole[each.uuid], score=each.score) for each in taken[i] if each.uuid in whole]
    return taken


def _cut_parts(records: list[Record], limit: int, depth: int) -> bool:
    """Return whether records equal to the last that is taken go on to the end of `depth`, maybe past it."""
    return len(records) == depth and records[limit - 1].score == records[-1].score


def _rank(record: Record) -> tuple[float, str]:
    return -record.score, record.payload["id"]

"""Selectivity: the share of a shard's points that a filter of several conditions passes.

Edge estimates it as if conditions were independent: for two that exclude each other it expects far too many
points, and a search that trusts it misses most of what is there. So filters are tried on a sample of the
points, and the shares are cached until the shard has changed.
"""

import json
from collections.abc import Mapping
from typing import Any

import qdrant_edge as edge

from service.index.edge.filter_conversion import edge_filter

SAMPLE = 1_000
"""Points in the sample: a share of 0.2 is known to 0.013."""
FEW = 0.02
"""An estimate below this is believed: conditions that depend on each other do not make it large."""
KEPT = 1_000
"""Filters whose shares are cached."""
CHANGED = 0.1
"""Share of a shard's points that may be written before the cached shares are dropped."""


class Selectivity:
    """The shares of one shard. Trying a filter takes as long as a search; a cached share takes nothing."""

    def __init__(self, shard: edge.EdgeShard) -> None:
        self._shard = shard
        self._shares: dict[str, float] = {}
        self._sample: set[Any] = set()
        self._left = 0.0

    def changed(self, points: int) -> None:
        """Count points that were written or deleted."""
        self._left -= points

    def share(self, where: Mapping[str, Any]) -> float:
        """Return the share of the points that a checked filter's JSON passes, 0 to 1."""
        if self._left <= 0:
            self._begin()
        points = max(1, self._shard.count(edge.CountRequest(exact=False)))
        expected = self._shard.count(edge.CountRequest(exact=False, filter=edge_filter(where))) / points
        if expected < FEW:
            return expected
        name = json.dumps(where, sort_keys=True)
        if name not in self._shares:
            if len(self._shares) >= KEPT:
                self._shares.clear()
            self._shares[name] = self._try(where)
        return self._shares[name]

    def _begin(self) -> None:
        """Take a new sample: ids are hashes, so the first thousand are as good as any."""
        found, _ = self._shard.scroll(edge.ScrollRequest(limit=SAMPLE, with_payload=False, with_vector=False))
        self._sample = {str(each.id) for each in found}
        self._shares.clear()
        self._left = CHANGED * self._shard.count(edge.CountRequest(exact=False)) + 1

    def _try(self, where: Mapping[str, Any]) -> float:
        asked = edge.Filter(must=[edge.HasIdCondition(self._sample), edge_filter(where) or edge.Filter()])
        passing = self._shard.count(edge.CountRequest(exact=True, filter=asked))
        return passing / max(1, len(self._sample))

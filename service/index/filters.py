"""Filters in Qdrant's grammar, as people send them: checked, bounded, and made into Qdrant's own objects.

The grammar is `qdrant_client.models.Filter`. A filter's JSON is bounded (`filter_json`) and validated as that
model (`filter_validation`), then visited for what only this service asks (`filter_visitor`). `InvalidFilter`
names the place that is wrong (`filter.must[2].match`). Fields are the payload's own (`fields`) and, under
`metadata.`, the user's. `has_id` takes the caller's ids. Only what every back end answers alike is let
through.
"""

from collections.abc import Mapping
from typing import Any

from qdrant_client import models

from connectors.modality import Modality
from service.index.filter_json import read_filter
from service.index.filter_visitor import FilterVisitor


def parse_filter(where: Mapping[str, Any] | None, collection: str) -> models.Filter | None:
    """Return a filter's JSON as Qdrant's object; None for None and for the empty filter.

    Raises `InvalidFilter`.
    """
    if where is None:
        return None
    found = read_filter(where)
    FilterVisitor(collection).filter(found)
    return found if any(clause is not None for _, clause in found) else None


def with_modality(where: models.Filter | None, modality: Modality | None) -> models.Filter | None:
    """Return a parsed filter narrowed to one modality."""
    if modality is None:
        return where
    narrow = models.FieldCondition(key="modality", match=models.MatchValue(value=modality))
    return models.Filter(must=[narrow] if where is None else [narrow, where])

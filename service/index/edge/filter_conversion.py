"""Conversion of checked filters, as JSON, to Qdrant Edge's own objects.

The JSON is `parse_filter`'s result dumped without its nulls, so its shape is known; anything else raises
`KeyError`.
"""

from collections.abc import Mapping
from typing import Any

import qdrant_edge as edge

from service.index.edge.payload_encoding import marked


def edge_filter(raw: Mapping[str, Any] | None) -> edge.Filter | None:
    """Return a filter's JSON as Edge's object; None for None."""
    if raw is None:
        return None
    clauses = {
        name: [_condition(each) for each in raw[name]]
        for name in ("must", "should", "must_not")
        if name in raw
    }
    least = raw.get("min_should")
    return edge.Filter(
        **clauses,
        min_should=None
        if least is None
        else edge.MinShould([_condition(each) for each in least["conditions"]], least["min_count"]),
    )


def _condition(raw: Mapping[str, Any]) -> Any:
    if "has_id" in raw:
        return edge.HasIdCondition(set(raw["has_id"]))
    if "nested" in raw:
        nested = raw["nested"]
        inner = edge_filter(nested["filter"]) or edge.Filter()
        return edge.NestedCondition(nested["key"].removesuffix("[]"), inner)
    if "key" in raw:
        return _field_condition(raw)
    if "is_empty" in raw:
        return edge.IsEmptyCondition(raw["is_empty"]["key"])
    if "is_null" in raw:
        return edge.IsNullCondition(raw["is_null"]["key"])
    return edge_filter(raw)


def _field_condition(raw: Mapping[str, Any]) -> edge.FieldCondition:
    key = raw["key"]
    if "match" in raw:
        return edge.FieldCondition(key, match=_match(raw["match"]))
    if "range" in raw:
        bounds = raw["range"]
        dates = any(isinstance(bound, str) for bound in bounds.values())
        return edge.FieldCondition(key, range=(edge.RangeDateTime if dates else edge.RangeFloat)(**bounds))
    if "values_count" in raw:
        return edge.FieldCondition(key, values_count=edge.ValuesCount(**raw["values_count"]))
    if "is_empty" in raw:
        return edge.FieldCondition(key, is_empty=raw["is_empty"])
    if "is_null" in raw:
        return edge.FieldCondition(key, is_null=raw["is_null"])
    if "geo_radius" in raw:
        circle = raw["geo_radius"]
        return edge.FieldCondition(key, geo_radius=edge.GeoRadius(_geo(circle["center"]), circle["radius"]))
    if "geo_bounding_box" in raw:
        box = raw["geo_bounding_box"]
        corners = edge.GeoBoundingBox(_geo(box["top_left"]), _geo(box["bottom_right"]))
        return edge.FieldCondition(key, geo_bounding_box=corners)
    polygon = raw["geo_polygon"]
    interiors = [_ring(each) for each in polygon.get("interiors") or []]
    return edge.FieldCondition(key, geo_polygon=edge.GeoPolygon(_ring(polygon["exterior"]), interiors))


def _match(raw: Mapping[str, Any]) -> Any:
    if "value" in raw:
        return edge.MatchValue(marked(raw["value"]))
    if "any" in raw:
        return edge.MatchAny(marked(raw["any"]))
    if "except" in raw:
        return edge.MatchExcept(marked(raw["except"]))
    return edge.MatchText(raw["text"])


def _geo(raw: Mapping[str, float]) -> edge.GeoPoint:
    return edge.GeoPoint(raw["lon"], raw["lat"])


def _ring(raw: Mapping[str, Any]) -> list[edge.GeoPoint]:
    return [_geo(point) for point in raw["points"]]

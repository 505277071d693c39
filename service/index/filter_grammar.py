"""The grammar of filters in words, and its limits.

The grammar itself is `qdrant_client.models.Filter`; the words are for what is wrong.
"""

from collections.abc import Mapping

MAX_DEPTH = 8
MAX_CONDITIONS = 256
MAX_VALUES = 4096
"""Ids, match values and points of polygons in one filter."""

CLAUSES = frozenset({"must", "should", "must_not", "conditions"})
"""Keys that conditions stand under."""
BOUNDS = frozenset({"lt", "lte", "gt", "gte"})
"""Keys of a range."""

CONDITION = (
    "a condition: has_id, is_empty, is_null, nested, a filter, or 'key' with exactly one of "
    "geo_bounding_box, geo_polygon, geo_radius, is_empty, is_null, match, range, values_count"
)
FILTER = "a JSON object with must, must_not, should or min_should"
_CLAUSE = "a list of conditions"
_GEO_POINT = "an object with lon and lat, in degrees"
_RING = "an object with points"
FORMS: Mapping[str, str] = {
    "filter": FILTER,
    "must": _CLAUSE,
    "must_not": _CLAUSE,
    "should": _CLAUSE,
    "conditions": _CLAUSE,
    "min_should": "an object with conditions and min_count",
    "min_count": f"a whole number from 1 to {MAX_CONDITIONS}",
    "key": "a field's path, like 'modality' or 'metadata.colour'",
    "match": "an object with one of any, except, text, value",
    "value": "a string, a whole number, true or false",
    "any": "a list of strings or a list of whole numbers",
    "except": "a list of strings or a list of whole numbers",
    "text": "a string",
    "range": "an object with lt, lte, gt or gte, all numbers or all dates like '2026-05-01T00:00:00Z'",
    "values_count": "an object with lt, lte, gt or gte, whole numbers",
    "is_empty": 'true or false beside a key, and alone an object like {"key": "metadata.colour"}',
    "is_null": 'true or false beside a key, and alone an object like {"key": "metadata.colour"}',
    "has_id": "a list of point ids, which are strings",
    "nested": "an object with key and filter",
    "geo_bounding_box": "an object with top_left and bottom_right",
    "top_left": _GEO_POINT,
    "bottom_right": _GEO_POINT,
    "geo_radius": "an object with center and radius, in metres",
    "center": _GEO_POINT,
    "radius": "a number",
    "geo_polygon": "an object with exterior and, if need be, interiors",
    "exterior": _RING,
    "interiors": "a list of objects with points",
    "points": "a list of objects with lon and lat, in degrees",
    "lon": "a number",
    "lat": "a number",
}
"""The values that stand under each key."""

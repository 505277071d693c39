"""Filters in Qdrant's grammar, as people send them: checked, bounded, and made into Qdrant's own objects.

Given the JSON of a filter it gives a `qdrant_client.models.Filter`, or raises `InvalidFilter` naming the
place that is wrong (`filter.must[2].match`). Fields are the payload's own (`modality`, `mime`, `sha256`,
`name`, `caption`, `text`, `media`, `space`, `connector`, `created`, `id`) and, under `metadata.`, the user's.
`has_id` takes the caller's ids. Only what every back end answers alike is let through.
"""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from qdrant_client import models

from connectors.modality import Modality
from service.errors import InvalidFilter
from service.index.identity import point_uuid

SYSTEM_FIELDS = frozenset(
    {"id", "modality", "space", "media", "mime", "sha256", "name", "caption", "text", "connector", "created"}
)
"""The payload's own fields. The user's metadata is under `metadata.`."""

MAX_DEPTH = 8
MAX_CONDITIONS = 256
MAX_VALUES = 4096
"""Ids and match values in one filter."""
MAX_TEXT = 1024
"""Characters of one key or value."""

_CLAUSES = frozenset({"must", "should", "must_not", "min_should"})
_SEGMENT = r'(?:[\w-]+|"[^"\\]+")(?:\[\d{0,9}\])*'
_PATH = re.compile(rf"{_SEGMENT}(?:\.{_SEGMENT})*")
_MATCHES: Mapping[str, Any] = {
    "value": models.MatchValue,
    "any": models.MatchAny,
    "except": models.MatchExcept,
    "text": models.MatchText,
}
_FIELD_CONDITIONS = frozenset(
    {"match", "range", "geo_bounding_box", "geo_radius", "geo_polygon", "values_count", "is_empty", "is_null"}
)


def parse_filter(where: Mapping[str, Any] | None, collection: str) -> models.Filter | None:
    """A filter's JSON as Qdrant's object; None for None and for the empty filter.

    Raises `InvalidFilter`.
    """
    if where is None:
        return None
    parsed = _Parser(collection).filter(where, "filter", depth=1, nested=False)
    return parsed if parsed.model_dump(exclude_none=True) else None


def with_modality(where: models.Filter | None, modality: Modality | None) -> models.Filter | None:
    """A parsed filter narrowed to one modality."""
    if modality is None:
        return where
    narrow = models.FieldCondition(key="modality", match=models.MatchValue(value=modality))
    return models.Filter(must=[narrow] if where is None else [narrow, where])


def check_field(key: object, place: str = "field") -> str:
    """Give back a payload field's path. Raises `InvalidFilter` where it is none of ours."""
    if not isinstance(key, str) or len(key) > MAX_TEXT or not _PATH.fullmatch(key):
        raise InvalidFilter(
            f"{place}: {_shown(key)} is no field's path, like 'modality' or 'metadata.colour'"
        )
    root = re.split(r"[.\[]", key, maxsplit=1)[0]
    if key not in SYSTEM_FIELDS and root != "metadata":
        known = ", ".join(sorted(SYSTEM_FIELDS))
        raise InvalidFilter(
            f"{place}: there is no field {key!r}; your own metadata is under 'metadata.' "
            f"(say 'metadata.{key}'), the others are {known}"
        )
    return key


class _Parser:
    """One walk over one filter; counts what it has seen against the limits."""

    def __init__(self, collection: str) -> None:
        self.collection = collection
        self.conditions = 0
        self.values = 0

    def filter(self, raw: object, place: str, depth: int, nested: bool) -> models.Filter:
        if not isinstance(raw, Mapping):
            raise InvalidFilter(f"{place} is a JSON object with must, should, must_not or min_should")
        if depth > MAX_DEPTH:
            raise InvalidFilter(f"{place}: filters are nested at most {MAX_DEPTH} deep")
        if unknown := set(raw) - _CLAUSES:
            raise InvalidFilter(
                f"{place}: unknown key {_shown(min(map(str, unknown)))}; a filter has {_list(_CLAUSES)}"
            )
        clauses: dict[str, Any] = {
            clause: self.conditions_of(raw[clause], f"{place}.{clause}", depth, nested)
            for clause in ("must", "should", "must_not")
            if raw.get(clause) is not None
        }
        if (least := raw.get("min_should")) is not None:
            clauses["min_should"] = self.min_should(least, f"{place}.min_should", depth, nested)
        return models.Filter(**clauses)

    def conditions_of(self, raw: object, place: str, depth: int, nested: bool) -> list[models.Condition]:
        if isinstance(raw, Mapping):
            return [self.condition(raw, place, depth, nested)]
        if not isinstance(raw, list):
            raise InvalidFilter(f"{place} is a list of conditions")
        return [self.condition(each, f"{place}[{i}]", depth, nested) for i, each in enumerate(raw)]

    def min_should(self, raw: object, place: str, depth: int, nested: bool) -> models.MinShould:
        if not isinstance(raw, Mapping) or set(raw) != {"conditions", "min_count"}:
            raise InvalidFilter(f"{place} is an object with conditions and min_count")
        least = raw["min_count"]
        if not isinstance(least, int) or isinstance(least, bool) or not 0 <= least <= MAX_CONDITIONS:
            raise InvalidFilter(f"{place}.min_count is a whole number from 0 to {MAX_CONDITIONS}")
        conditions = self.conditions_of(raw["conditions"], f"{place}.conditions", depth, nested)
        return models.MinShould(conditions=conditions, min_count=least)

    def condition(self, raw: object, place: str, depth: int, nested: bool) -> models.Condition:
        self.conditions += 1
        if self.conditions > MAX_CONDITIONS:
            raise InvalidFilter(f"{place}: a filter has at most {MAX_CONDITIONS} conditions")
        if not isinstance(raw, Mapping):
            raise InvalidFilter(f"{place} is a condition: a JSON object")
        if "key" in raw:
            return self.field_condition(raw, place, nested)
        if len(raw) == 1 and not nested and "has_id" in raw:
            return self.has_id(raw["has_id"], f"{place}.has_id")
        if len(raw) == 1 and "nested" in raw and not nested:
            return self.nested(raw["nested"], f"{place}.nested", depth)
        for name, build in _EMPTINESS.items():
            if len(raw) == 1 and name in raw:
                inner = raw[name]
                if not isinstance(inner, Mapping) or set(inner) != {"key"}:
                    raise InvalidFilter(f'{place}.{name} is an object like {{"key": "metadata.colour"}}')
                return build(self.key(inner["key"], f"{place}.{name}.key", nested))
        if raw and set(raw) <= _CLAUSES:
            return self.filter(raw, place, depth + 1, nested)
        raise InvalidFilter(
            f"{place}: {_list(map(str, raw)) or 'an empty object'} is no condition; one is has_id, is_empty, "
            f"is_null, nested, a filter, or has 'key' and one of {_list(_FIELD_CONDITIONS)}; "
            "inside nested neither has_id nor nested"
        )

    def field_condition(self, raw: Mapping[str, Any], place: str, nested: bool) -> models.FieldCondition:
        key = self.key(raw["key"], f"{place}.key", nested)
        tests = {name: test for name, test in raw.items() if name != "key" and test is not None}
        if unknown := set(tests) - _FIELD_CONDITIONS:
            name = _shown(min(map(str, unknown)))
            raise InvalidFilter(f"{place}: unknown key {name}; 'key' goes with {_list(_FIELD_CONDITIONS)}")
        if len(tests) != 1:
            raise InvalidFilter(f"{place}: beside 'key' stands exactly one of {_list(_FIELD_CONDITIONS)}")
        [(name, test)] = tests.items()
        self.check_numbers(test, f"{place}.{name}")
        if name == "match":
            return models.FieldCondition(key=key, match=self.match(test, f"{place}.match"))
        if name == "range":
            return models.FieldCondition(key=key, range=_range(test, f"{place}.range"))
        if name in ("is_empty", "is_null"):
            if not isinstance(test, bool):
                raise InvalidFilter(f"{place}.{name} is true or false")
            return models.FieldCondition(**{"key": key, name: test})
        kind = {
            "geo_bounding_box": models.GeoBoundingBox,
            "geo_radius": models.GeoRadius,
            "geo_polygon": models.GeoPolygon,
            "values_count": models.ValuesCount,
        }[name]
        parsed = _validated(kind, test, f"{place}.{name}")
        _check_geometry(parsed, f"{place}.{name}")
        return models.FieldCondition(**{"key": key, name: parsed})

    def match(self, raw: object, place: str) -> Any:
        if not isinstance(raw, Mapping) or len(raw) != 1 or not set(raw) <= set(_MATCHES):
            raise InvalidFilter(f"{place} is an object with one of {_list(_MATCHES)}")
        [(name, value)] = raw.items()
        values = value if isinstance(value, list) else [value]
        self.count_values(len(values), place)
        return _validated(_MATCHES[name], raw, place)

    def has_id(self, raw: object, place: str) -> models.HasIdCondition:
        if not isinstance(raw, list) or not all(isinstance(each, str) for each in raw):
            raise InvalidFilter(f"{place} is a list of point ids")
        self.count_values(len(raw), place)
        return models.HasIdCondition(has_id=[point_uuid(self.collection, each) for each in raw])

    def nested(self, raw: object, place: str, depth: int) -> models.NestedCondition:
        if not isinstance(raw, Mapping) or set(raw) != {"key", "filter"}:
            raise InvalidFilter(f"{place} is an object with key and filter")
        key = self.key(raw["key"], f"{place}.key", nested=False)
        inner = self.filter(raw["filter"], f"{place}.filter", depth + 1, nested=True)
        return models.NestedCondition(nested=models.Nested(key=key, filter=inner))

    def key(self, raw: object, place: str, nested: bool) -> str:
        if not nested:
            return check_field(raw, place)
        if not isinstance(raw, str) or len(raw) > MAX_TEXT or not _PATH.fullmatch(raw):
            raise InvalidFilter(f"{place}: {_shown(raw)} is no path inside the nested objects")
        return raw

    def count_values(self, more: int, place: str) -> None:
        self.values += more
        if self.values > MAX_VALUES:
            raise InvalidFilter(f"{place}: a filter has at most {MAX_VALUES} values and ids")

    def check_numbers(self, raw: object, place: str, depth: int = 0) -> None:
        """Numbers every back end can hold, strings of bounded length."""
        if isinstance(raw, str) and (len(raw) > MAX_TEXT or not _is_unicode(raw)):
            raise InvalidFilter(f"{place}: a value is valid Unicode of at most {MAX_TEXT} characters")
        if isinstance(raw, float) and not math.isfinite(raw):
            raise InvalidFilter(f"{place}: numbers are finite")
        if isinstance(raw, int) and not -(2**63) <= raw < 2**63:
            raise InvalidFilter(f"{place}: whole numbers fit in 64 bits")
        if isinstance(raw, Mapping | list) and depth > 6:
            raise InvalidFilter(f"{place}: nested too deep")
        if isinstance(raw, Mapping):
            for name, value in raw.items():
                self.check_numbers(value, f"{place}.{name}", depth + 1)
        elif isinstance(raw, list):
            if len(raw) > MAX_VALUES:
                raise InvalidFilter(f"{place}: a filter has at most {MAX_VALUES} values and ids")
            for value in raw:
                self.check_numbers(value, place, depth + 1)


def _is_empty(key: str) -> models.IsEmptyCondition:
    return models.IsEmptyCondition(is_empty=models.PayloadField(key=key))


def _is_null(key: str) -> models.IsNullCondition:
    return models.IsNullCondition(is_null=models.PayloadField(key=key))


_EMPTINESS: Mapping[str, Callable[[str], models.Condition]] = {"is_empty": _is_empty, "is_null": _is_null}


def _range(raw: object, place: str) -> Any:
    if not isinstance(raw, Mapping) or not raw or not set(raw) <= {"lt", "lte", "gt", "gte"}:
        raise InvalidFilter(f"{place} is an object with lt, lte, gt or gte")
    bounds = [bound for bound in raw.values() if bound is not None]
    if bounds and all(isinstance(bound, str) for bound in bounds):
        return _validated(models.DatetimeRange, raw, place)
    if any(isinstance(bound, bool) or not isinstance(bound, int | float) for bound in bounds):
        raise InvalidFilter(f"{place}: bounds are all numbers, or all dates like '2026-05-01T00:00:00Z'")
    return _validated(models.Range, raw, place)


def _check_geometry(parsed: BaseModel, place: str) -> None:
    """Coordinates on the globe, rings that close: what the engine would refuse later and less clearly."""
    points: list[models.GeoPoint] = []
    if isinstance(parsed, models.GeoBoundingBox):
        points = [parsed.top_left, parsed.bottom_right]
    elif isinstance(parsed, models.GeoRadius):
        points = [parsed.center]
        if parsed.radius < 0:
            raise InvalidFilter(f"{place}.radius is in metres, at least 0")
    elif isinstance(parsed, models.GeoPolygon):
        for ring in [parsed.exterior, *(parsed.interiors or [])]:
            if len(ring.points) < 4 or ring.points[0] != ring.points[-1]:
                raise InvalidFilter(f"{place}: a ring has at least four points, the last being the first")
            points += ring.points
    for point in points:
        if not (-180 <= point.lon <= 180 and -90 <= point.lat <= 90):
            raise InvalidFilter(f"{place}: lon is from -180 to 180 and lat from -90 to 90")


def _validated(kind: Any, raw: object, place: str) -> Any:
    """`raw` as one of Qdrant's models, its own words kept for what is wrong."""
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join([place, *(str(part) for part in first["loc"][:1])])
        raise InvalidFilter(f"{where}: {first['msg']}") from None


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(raw: object) -> str:
    return repr(raw)[:80]


def _list(names: Any) -> str:
    return ", ".join(sorted(names)[:12])

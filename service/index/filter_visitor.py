"""A validated filter's visitor: fields, ids, limits, and what not every back end answers alike."""

from collections.abc import Sequence

from qdrant_client import models

from connectors.errors import ConfigError
from service.errors import InvalidFilter
from service.index.field_paths import check_field, check_nested_field
from service.index.filter_grammar import CONDITION, FORMS, MAX_CONDITIONS, MAX_DEPTH, MAX_VALUES
from service.index.identity import point_uuid

_TESTS = frozenset(
    {"match", "range", "geo_bounding_box", "geo_radius", "geo_polygon", "values_count", "is_empty", "is_null"}
)


class FilterVisitor:
    """One visit of one filter, changed in place: callers' ids become Qdrant's, single conditions lists."""

    def __init__(self, collection: str) -> None:
        self.collection = collection
        self.values = 0

    def filter(
        self, found: models.Filter, place: str = "filter", depth: int = 1, nested: bool = False
    ) -> None:
        """Check a filter and all within it. Raises `InvalidFilter`."""
        if depth > MAX_DEPTH:
            raise InvalidFilter(f"{place}: filters are nested at most {MAX_DEPTH} deep")
        for clause in ("must", "should", "must_not"):
            conditions = getattr(found, clause)
            if isinstance(conditions, list):
                self._conditions(conditions, f"{place}.{clause}", depth, nested)
            elif conditions is not None:
                self._condition(conditions, f"{place}.{clause}", depth, nested)
                setattr(found, clause, [conditions])
        if found.min_should is not None:
            # At least none of them is every point on a server, and an error in local mode.
            if not 1 <= found.min_should.min_count <= MAX_CONDITIONS:
                raise InvalidFilter(f"{place}.min_should.min_count is {FORMS['min_count']}")
            self._conditions(found.min_should.conditions, f"{place}.min_should.conditions", depth, nested)

    def _conditions(self, found: Sequence[models.Condition], place: str, depth: int, nested: bool) -> None:
        for i, each in enumerate(found):
            self._condition(each, f"{place}[{i}]", depth, nested)

    def _condition(self, found: models.Condition, place: str, depth: int, nested: bool) -> None:
        if isinstance(found, models.FieldCondition):
            _check_key(found.key, f"{place}.key", nested)
            self._field_condition(found, place)
        elif isinstance(found, models.IsEmptyCondition):
            _check_key(found.is_empty.key, f"{place}.is_empty.key", nested)
        elif isinstance(found, models.IsNullCondition):
            _check_key(found.is_null.key, f"{place}.is_null.key", nested)
        elif isinstance(found, models.Filter) and found.model_fields_set:
            self.filter(found, place, depth + 1, nested)
            if not (found.must or found.should or found.must_not or found.min_should):
                raise InvalidFilter(f"{place} has no condition: it would hold for every point")
        elif isinstance(found, models.HasIdCondition) and not nested:
            self._has_id(found, f"{place}.has_id")
        elif isinstance(found, models.NestedCondition) and not nested:
            check_field(found.nested.key, f"{place}.nested.key")
            self.filter(found.nested.filter, f"{place}.nested.filter", depth + 1, nested=True)
        else:
            given = ", ".join(sorted(found.model_fields_set)) or "an empty object"
            inside = "; inside nested neither has_id nor nested" if nested else ""
            raise InvalidFilter(f"{place}: {given} is not {CONDITION}{inside}")

    def _field_condition(self, found: models.FieldCondition, place: str) -> None:
        tests = {name: test for name, test in found if name != "key" and test is not None}
        if len(tests) != 1 or not tests.keys() <= _TESTS:
            raise InvalidFilter(f"{place}: beside 'key' stands exactly one of {', '.join(sorted(_TESTS))}")
        if found.match is not None:
            self._match(found.match, f"{place}.match")
        if found.range is not None and not found.range.model_fields_set:
            raise InvalidFilter(f"{place}.range is an object with lt, lte, gt or gte")
        if found.geo_bounding_box is not None:
            corners = [found.geo_bounding_box.top_left, found.geo_bounding_box.bottom_right]
            _check_points(corners, f"{place}.geo_bounding_box")
        if found.geo_radius is not None:
            if found.geo_radius.radius < 0:
                raise InvalidFilter(f"{place}.geo_radius.radius is in metres, at least 0")
            _check_points([found.geo_radius.center], f"{place}.geo_radius.center")
        if found.geo_polygon is not None:
            _check_polygon(found.geo_polygon, f"{place}.geo_polygon")

    def _match(self, found: models.Match, place: str) -> None:
        match found:
            case models.MatchAny(any=values):
                self._count_values(len(values), place)
            case models.MatchExcept(except_=values):
                self._count_values(len(values), place)
            case models.MatchValue() | models.MatchText():
                self._count_values(1, place)
            case _:
                raise InvalidFilter(f"{place} is an object with one of any, except, text, value")

    def _has_id(self, found: models.HasIdCondition, place: str) -> None:
        self._count_values(len(found.has_id), place)
        uuids: list[models.ExtendedPointId] = []
        for i, each in enumerate(found.has_id):
            if not isinstance(each, str):
                raise InvalidFilter(f"{place}[{i}]: a point's id is a string")
            try:
                uuids.append(point_uuid(self.collection, each))
            except ConfigError as error:
                raise InvalidFilter(f"{place}[{i}]: {error.message}") from None
        found.has_id = uuids

    def _count_values(self, more: int, place: str) -> None:
        self.values += more
        if self.values > MAX_VALUES:
            raise InvalidFilter(f"{place}: a filter has at most {MAX_VALUES} values and ids")


def _check_key(key: str, place: str, nested: bool) -> None:
    if nested:
        check_nested_field(key, place)
    else:
        check_field(key, place)


def _check_polygon(found: models.GeoPolygon, place: str) -> None:
    """Check that rings close: the engine would refuse later and less clearly."""
    for ring in [found.exterior, *(found.interiors or [])]:
        if len(ring.points) < 4 or ring.points[0] != ring.points[-1]:
            raise InvalidFilter(f"{place}: a ring has at least four points, the last being the first")
        _check_points(ring.points, place)


def _check_points(found: Sequence[models.GeoPoint], place: str) -> None:
    for point in found:
        if not (-180 <= point.lon <= 180 and -90 <= point.lat <= 90):
            raise InvalidFilter(f"{place}: lon is from -180 to 180 and lat from -90 to 90")

"""A filter's JSON: bounded, and validated from within outwards.

For each condition that is of none of the kinds there are, pydantic collects dozens of errors and goes on to
the next: a second's work for a filter of 30 kB. So sizes are bounded before it sees anything, and it is given
one condition at a time, those within it first; the first wrong one ends the reading.
"""

import math
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from pydantic import TypeAdapter, ValidationError
from qdrant_client import models

from service.errors import InvalidFilter
from service.index.field_paths import MAX_TEXT
from service.index.filter_grammar import BOUNDS, CLAUSES, FORMS, MAX_CONDITIONS, MAX_VALUES
from service.index.filter_validation import validated_condition, validated_filter

MAX_LEVELS = 40
"""Objects and lists inside one another. The deepest filter of `MAX_DEPTH` has fewer."""
MAX_KEYS = len(models.FieldCondition.model_fields)
"""Keys of one object. A condition on a field has the most, with each test that it may have."""

_NEVER_LISTED = frozenset({float, bool, list, type(None)})
_DATE: TypeAdapter[datetime | date] = TypeAdapter(datetime | date)


def read_filter(where: object) -> models.Filter:
    """Return a filter's JSON as Qdrant's object. Raises `InvalidFilter`."""
    return validated_filter(_Reader().read(where, "filter", level=1), "filter")


class _Reader:
    """One walk over one filter; counts what it has seen against the limits."""

    def __init__(self) -> None:
        self.conditions = 0
        self.values = 0

    def read(self, raw: object, place: str, level: int, key: str = "") -> Any:
        """Return what is at `place`, under `key`: dates as dates, conditions as Qdrant's objects."""
        if isinstance(raw, str):
            _check_text(raw, place)
            return _date(raw, place) if key in BOUNDS else raw
        if isinstance(raw, float) and not math.isfinite(raw):
            raise InvalidFilter(f"{place}: numbers are finite")
        if isinstance(raw, int) and not -(2**63) <= raw < 2**63:
            raise InvalidFilter(f"{place}: whole numbers fit in 64 bits")
        if isinstance(raw, Mapping | list) and level > MAX_LEVELS:
            raise InvalidFilter(f"{place}: nested too deep")
        if isinstance(raw, Mapping):
            return self.read_object(raw, place, level)
        if isinstance(raw, list):
            return self.read_list(raw, place, level, key)
        if raw is None or isinstance(raw, int | float):
            return raw
        raise InvalidFilter(f"{place} is a {type(raw).__name__}, which JSON does not have")

    def read_object(self, raw: Mapping[Any, object], place: str, level: int) -> dict[str, Any]:
        if len(raw) > MAX_KEYS:
            raise InvalidFilter(f"{place}: an object of a filter has at most {MAX_KEYS} keys")
        found = {}
        for name, value in raw.items():
            if not isinstance(name, str):
                raise InvalidFilter(f"{place}: keys of JSON are strings")
            _check_text(name, place)
            inner = f"{place}.{name if name.isidentifier() else repr(name)}"
            if name in CLAUSES and isinstance(value, list | Mapping):
                found[name] = self.read_conditions(value, inner, level + 1)
            else:
                found[name] = self.read(value, inner, level + 1, name)
        return found

    def read_conditions(self, raw: list[object] | Mapping[Any, object], place: str, level: int) -> Any:
        self.conditions += len(raw) if isinstance(raw, list) else 1
        if self.conditions > MAX_CONDITIONS:
            raise InvalidFilter(f"{place}: a filter has at most {MAX_CONDITIONS} conditions")
        if isinstance(raw, Mapping):
            return validated_condition(self.read(raw, place, level), place)
        places = [f"{place}[{i}]" for i in range(len(raw))]
        return [
            validated_condition(self.read(each, inner, level + 1), inner)
            for each, inner in zip(raw, places, strict=True)
        ]

    def read_list(self, raw: list[object], place: str, level: int, key: str) -> list[Any]:
        self.values += len(raw)
        if self.values > MAX_VALUES:
            raise InvalidFilter(f"{place}: a filter has at most {MAX_VALUES} values, ids and points")
        kinds = {type(each) for each in raw}
        if len(kinds) > 1 or not kinds.isdisjoint(_NEVER_LISTED):
            raise InvalidFilter(f"{place} is {FORMS.get(key, 'a list of one kind of values')}")
        return [self.read(each, f"{place}[{i}]", level + 1) for i, each in enumerate(raw)]


def _check_text(text: str, place: str) -> None:
    if len(text) > MAX_TEXT or not _is_unicode(text):
        raise InvalidFilter(
            f"{place}: a key, path or value is valid Unicode of at most {MAX_TEXT} characters"
        )


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _date(text: str, place: str) -> datetime | date:
    """Return a bound's date. JSON has none, and validation without coercion would refuse the string."""
    try:
        return _DATE.validate_python(text)
    except ValidationError:
        raise InvalidFilter(
            f"{place}: {text[:80]!r} is no date like '2026-05-01T00:00:00Z'; numbers stand without quotes"
        ) from None

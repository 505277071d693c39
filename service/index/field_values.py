"""The values of declared fields: a value of another type would be stored, and found by no filter."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from qdrant_client.local.datetime_utils import parse as parse_date

from service.errors import InvalidRequest
from service.schemas.fields import FieldType

_SEGMENT = re.compile(r'(?:([\w-]+)|"([^"\\]+)")((?:\[\d{0,9}\])*)')
_INDEX = re.compile(r"\[(\d*)\]")

FORMS: Mapping[FieldType, str] = {
    "keyword": "a string",
    "integer": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "datetime": "a date like '2026-05-01T00:00:00Z'",
    "geo": "an object with lon and lat, in degrees",
}
"""The values of a field of each type, in words."""


def check_values(payload: Mapping[str, Any], fields: Mapping[str, FieldType], place: str) -> None:
    """Raise `InvalidRequest` where a value in a payload, or a part of one, is not of its field's type.

    Null, and a list of values of the type, are. `place` names the item in the message.
    """
    for path, kind in fields.items():
        for value in _values(payload, path):
            if not _FITS[kind](value):
                raise InvalidRequest(
                    f"{place}: {path} is {repr(value)[:80]}, but the collection declares it as {kind}: "
                    f"give {FORMS[kind]}, a list of such, or null"
                )


def misfits(payload: Mapping[str, Any], fields: Mapping[str, FieldType]) -> list[str]:
    """Return the declared fields of which a payload holds a value that is not of their type."""
    return [
        path
        for path, kind in fields.items()
        if not all(_FITS[kind](value) for value in _values(payload, path))
    ]


def _values(payload: Mapping[str, Any], path: str) -> Iterator[Any]:
    """Yield the values at a field's path, as Qdrant reads it; those of a list one by one, and no nulls."""
    found: Iterable[Any] = [payload]
    for name, quoted, indexes in _SEGMENT.findall(path):
        key = name or quoted
        found = [each[key] for each in found if isinstance(each, Mapping) and key in each]
        for index in _INDEX.findall(indexes):
            lists = [each for each in found if isinstance(each, list)]
            found = [
                value for each in lists for value in (each[int(index) : int(index) + 1] if index else each)
            ]
    for each in found:
        yield from (value for value in (each if isinstance(each, list) else [each]) if value is not None)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_place(value: Any) -> bool:
    bounds = {"lon": 180, "lat": 90}
    return isinstance(value, Mapping) and all(
        _is_number(value.get(name)) and abs(value[name]) <= most for name, most in bounds.items()
    )


_FITS: Mapping[FieldType, Callable[[Any], bool]] = {
    "keyword": lambda value: isinstance(value, str),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "float": _is_number,
    "bool": lambda value: isinstance(value, bool),
    # As every back end reads dates, Qdrant's own parser among them.
    "datetime": lambda value: isinstance(value, str) and parse_date(value) is not None,
    "geo": _is_place,
}

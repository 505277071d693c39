"""Parts of a filter as Qdrant's models, pydantic's many errors made into one message about one place.

Of an object that may be of several kinds pydantic tells why it is none of them. The message is only about the
kind that the object's own keys say it is.
"""

from collections.abc import Callable, Mapping
from datetime import date
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, TypeAdapter, ValidationError
from qdrant_client import models

from service.errors import InvalidFilter
from service.index.filter_grammar import BOUNDS, CONDITION, FILTER, FORMS

Path = tuple[str | int, ...]
T = TypeVar("T")

_CONDITION: TypeAdapter[models.Condition] = TypeAdapter(models.Condition)


def _field_names(kind: type[BaseModel]) -> frozenset[str]:
    return frozenset(field.alias or name for name, field in kind.model_fields.items())


_KINDS: Mapping[str, frozenset[str]] = {
    kind.__name__: _field_names(kind)
    for union in (models.Condition, models.Match, models.RangeInterface)
    for kind in get_args(union)
}
"""Keys of each kind of condition, match and range. Pydantic names the kind in an error's location."""
_TELLING = frozenset().union(
    *(_field_names(kind) for kind in get_args(models.Condition) if kind is not models.Filter)
)
"""Keys of conditions that are no filters."""


def validated_filter(raw: object, place: str) -> models.Filter:
    """Return a filter whose conditions are validated already. Raises `InvalidFilter`."""
    return _validated(models.Filter.model_validate, raw, place, FILTER)


def validated_condition(raw: object, place: str) -> models.Condition:
    """Return a condition; those within it are validated already. Raises `InvalidFilter`."""
    return _validated(_CONDITION.validate_python, raw, place, CONDITION)


def _validated(validate: Callable[..., T], raw: object, place: str, form: str) -> T:
    try:
        # Strict: "5" is no number, 1 is not true and 2.0 is no count, as for Qdrant itself.
        return validate(raw, strict=True)
    except ValidationError as error:
        path, fault = _first_fault(error, raw)
    around = path[:-1]
    if fault == "missing":
        message = f"{_place(place, around)}: {path[-1]!r} is missing; this is {_form(around, form)}"
    elif fault == "extra_forbidden":
        message = f"{_place(place, around)}: unknown key {repr(path[-1])[:80]}; this is {_form(around, form)}"
    else:
        message = f"{_place(place, path)} is {_form(path, form)}"
    raise InvalidFilter(message)


def _first_fault(error: ValidationError, raw: object) -> tuple[Path, str]:
    """Return the path and the type of the first error, or of those that look deeper into its place."""
    found: Path | None = None
    fault = ""
    for each in error.errors(include_url=False, include_context=False, include_input=False):
        path, kind = _located(each["loc"], each["type"], raw)
        if found is None or (len(path) > len(found) and path[: len(found)] == found):
            found, fault = path, kind
    return found or (), fault


def _located(location: Path, fault: str, raw: Any) -> tuple[Path, str]:
    """Return an error's path in the JSON, only as far as it supposes no kind that is not meant."""
    path: Path = ()
    named = fault in ("missing", "extra_forbidden")
    for part in location[:-1] if named else location:
        if isinstance(part, str) and part in _KINDS:
            if not _is_meant(part, raw):
                return path, "no_kind"
        elif isinstance(part, int) or (isinstance(raw, Mapping) and part in raw):
            raw = raw[part]
            path = (*path, part)
    return ((*path, location[-1]), fault) if named else (path, fault)


def _is_meant(kind: str, raw: object) -> bool:
    """Tell by its keys if an object is meant to be of this kind."""
    if not isinstance(raw, Mapping):
        return False
    if kind == "FieldCondition":
        return "key" in raw
    if kind == "Filter":
        return _TELLING.isdisjoint(raw)
    if kind in ("Range", "DatetimeRange"):
        return any(isinstance(bound, date) for bound in raw.values()) == (kind == "DatetimeRange")
    return not _KINDS[kind].isdisjoint(raw) and "key" not in raw


def _place(place: str, path: Path) -> str:
    return place + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)


def _form(path: Path, whole: str) -> str:
    """Return in words what stands at a path; around it, where that has no words of its own."""
    names = [part for part in path if isinstance(part, str)]
    if names and names[-1] in BOUNDS:
        return "a whole number" if "values_count" in names else "a number, or a date if all bounds are"
    return next((FORMS[name] for name in reversed(names) if name in FORMS), whole)

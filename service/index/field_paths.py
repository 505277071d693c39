"""The payload's fields, as filters, facets and groups name them."""

import re
from typing import TypeGuard

from service.errors import InvalidFilter

SYSTEM_FIELDS = frozenset(
    {"id", "modality", "space", "media", "mime", "sha256", "name", "caption", "text", "connector", "created"}
)
"""The payload's own fields. The user's metadata is under `metadata.`."""

MAX_TEXT = 1024
"""Characters of one path, and of one value in a filter."""

_SEGMENT = r'(?:[\w-]+|"[^"\\]+")(?:\[\d{0,9}\])*'
_PATH = re.compile(rf"{_SEGMENT}(?:\.{_SEGMENT})*")


def check_field(key: object, place: str = "field") -> str:
    """Give back a payload field's path. Raises `InvalidFilter` where it is none of ours."""
    if not _is_path(key):
        raise InvalidFilter(
            f"{place}: {repr(key)[:80]} is no field's path, like 'modality' or 'metadata.colour'"
        )
    root = re.split(r"[.\[]", key, maxsplit=1)[0]
    if key not in SYSTEM_FIELDS and root != "metadata":
        known = ", ".join(sorted(SYSTEM_FIELDS))
        raise InvalidFilter(
            f"{place}: there is no field {key!r}; your own metadata is under 'metadata.' "
            f"(say 'metadata.{key}'), the others are {known}"
        )
    return key


def check_nested_field(key: object, place: str) -> str:
    """Give back a path inside the objects of a nested condition. Raises `InvalidFilter` where it is none."""
    if not _is_path(key):
        raise InvalidFilter(f"{place}: {repr(key)[:80]} is no path inside the nested objects")
    return key


def _is_path(key: object) -> TypeGuard[str]:
    return isinstance(key, str) and len(key) <= MAX_TEXT and _PATH.fullmatch(key) is not None

"""Validation that bodies, manifests and stored payloads share: JSON values, and the wording of errors."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from connectors.errors import ConfigError

MAX_JSON_DEPTH = 32


def check_json(value: Any, place: str, depth: int = 0) -> None:
    """Raise `ConfigError` where a value is not JSON that every index backend can hold."""
    if depth > MAX_JSON_DEPTH:
        raise ConfigError(f"{place}: nested more than {MAX_JSON_DEPTH} deep")
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ConfigError(f"{place}: is not valid Unicode: it has lone surrogates") from None
    elif isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise ConfigError(f"{place}: whole numbers fit in 64 bits; write {value} as a string")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise ConfigError(f"{place}: numbers are finite")
    elif isinstance(value, Mapping):
        for key, each in value.items():
            if not isinstance(key, str):
                raise ConfigError(f"{place}: keys are strings, not {key!r}")
            check_json(key, place, depth + 1)
            check_json(each, f"{place}.{key}"[:200], depth + 1)
    elif isinstance(value, list | tuple):
        for each in value:
            check_json(each, place, depth + 1)
    else:
        raise ConfigError(f"{place}: a {type(value).__name__} is not JSON")


def describe(errors: Sequence[Any]) -> tuple[str, str | None]:
    """Return the message of the first of pydantic's errors, and the path of its field."""
    first = errors[0]
    path = ""
    for part in first["loc"]:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    more = f" ({len(errors) - 1} more like it)" if len(errors) > 1 else ""
    reason = first["msg"].removeprefix("Value error, ")
    return (f"{path}: {reason}{more}" if path else f"{reason}{more}"), path or None

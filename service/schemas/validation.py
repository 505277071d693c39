"""Validation that bodies, manifests and stored payloads share: JSON values, and the wording of errors."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from connectors.errors import ConfigError

MAX_JSON_DEPTH = 32
SHOWN = 3
"""Problems of a body that one message names."""
_BRANCH = re.compile(r"constrained-\w+|[a-z-]+\[.*", re.DOTALL)
"""A part of a location that is no field: pydantic's name for one of the types that a field may be of."""


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


def same_json(one: Any, other: Any) -> bool:
    """Return whether two values are one JSON; Python takes 1, 1.0 and true for equal."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def describe(errors: Sequence[Any], advice: Mapping[str, str] | None = None) -> tuple[str, str | None]:
    """Return a message that names the first `SHOWN` of pydantic's errors, and the path of the first's field.

    `advice` says of fields that are not there what to write in their place: these errors come first, and that
    another field is missing goes without saying.
    """
    known = advice or {}
    misplaced = [each for each in errors if each["type"] == "extra_forbidden" and _path(each["loc"]) in known]
    others = [each for each in errors if each not in misplaced]
    problems: dict[str, str] = {}
    for each in misplaced + [each for each in others if not (misplaced and each["type"] == "missing")]:
        path = _path(each["loc"])
        reason = each["msg"].removeprefix("Value error, ")
        if each["type"] == "extra_forbidden":
            reason = known.get(path, "there is no such field")
        problems.setdefault(f"{path}: {reason}" if path else reason, path)
    more = f" (and {len(problems) - SHOWN} more)" if len(problems) > SHOWN else ""
    return "; ".join([*problems][:SHOWN]) + more, next(iter(problems.values())) or None


def _path(location: Sequence[str | int]) -> str:
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        elif not _BRANCH.fullmatch(part):
            path += f".{part}" if path else part
    return path

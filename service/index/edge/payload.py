"""Payloads in the form Qdrant Edge keeps and matches without loss, and back.

qdrant-edge-py 0.9.0 takes a boolean in a match for a number and so never finds one; payloads and matches
have two marks in their place, in private-use characters that no tokenizer takes for words. And it may
change a number's last bit; a field with such numbers in it is kept as JSON text beside itself, and given
back from there.
"""

import json
from collections.abc import Mapping
from typing import Any

_MARK = "\ue000"
TRUE, FALSE = f"{_MARK}\ue001", f"{_MARK}\ue002"
_EXACT = "exact:"


def stored(payload: Mapping[str, Any]) -> dict[str, Any]:
    """A payload, or some fields of one, as it is kept."""
    exact = {_EXACT + key: json.dumps(value) if _has_float(value) else None for key, value in payload.items()}
    return {**{key: marked(value) for key, value in payload.items()}, **exact}


def given(kept: Mapping[str, Any]) -> dict[str, Any]:
    """The payload that `stored` was given."""
    payload = {}
    for key, value in kept.items():
        if not key.startswith(_EXACT):
            exact = kept.get(_EXACT + key)
            payload[key] = unmarked(value) if exact is None else json.loads(exact)
    return payload


def marked(value: Any) -> Any:
    """A JSON value with booleans marked, and with strings that begin like a mark set apart from them."""
    if isinstance(value, bool):
        return TRUE if value else FALSE
    if isinstance(value, str):
        return _MARK + value if value.startswith(_MARK) else value
    if isinstance(value, dict):
        return {key: marked(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [marked(each) for each in value]
    return value


def unmarked(value: Any) -> Any:
    """The JSON value that `marked` was given."""
    if isinstance(value, str):
        if not value.startswith(_MARK):
            return value
        return {TRUE: True, FALSE: False}.get(value, value[len(_MARK) :])
    if isinstance(value, dict):
        return {key: unmarked(each) for key, each in value.items()}
    if isinstance(value, list):
        return [unmarked(each) for each in value]
    return value


def _has_float(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_float, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_has_float, value))
    return isinstance(value, float)

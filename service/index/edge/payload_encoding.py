"""Payloads in a form that Qdrant Edge stores and matches without loss, and back.

qdrant-edge-py 0.9.0 treats a boolean in a match as a number and so never finds one. Payloads and matches have
one of two marks in its place, made of private-use characters that no tokenizer treats as words. Edge may
also change the last bit of a float, so a field that contains floats is stored as JSON text too, and read
from there.
"""

import json
from collections.abc import Mapping
from typing import Any

_MARK = "\ue000"
TRUE, FALSE = f"{_MARK}\ue001", f"{_MARK}\ue002"
_EXACT = "exact:"


def stored(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return a payload, or some fields of one, as Edge stores it."""
    exact = {_EXACT + key: json.dumps(value) if _has_float(value) else None for key, value in payload.items()}
    return {**{key: marked(value) for key, value in payload.items()}, **exact}


def given(kept: Mapping[str, Any]) -> dict[str, Any]:
    """Return the payload that `stored` was given."""
    payload = {}
    for key, value in kept.items():
        if not key.startswith(_EXACT):
            exact = kept.get(_EXACT + key)
            payload[key] = unmarked(value) if exact is None else json.loads(exact)
    return payload


def marked(value: Any) -> Any:
    """Return a JSON value with booleans replaced by marks, and strings that begin like a mark escaped."""
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
    """Return the JSON value that `marked` was given."""
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

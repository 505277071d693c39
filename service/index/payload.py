"""The payload and vectors that the index stores for a point.

The payload is flat: the point's id, modality and space beside the caller's fields (`media`, `mime`, `sha256`,
`name`, `caption`, `connector`, `created`), the user's own JSON under `metadata`, and `revision`, the time of
its last write in nanoseconds, by which a copy of the collection catches up with writes made meanwhile.
"""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from connectors.errors import ConfigError
from service.index.protocol import Layout, Point, StoredPoint, Vector
from service.schemas.validation import check_json

UNIFIED = "unified"
"""The name of the vector that is searched."""

RESERVED = frozenset({"id", "modality", "space", "revision"})


def native_name(space: str) -> str:
    """Return the name of the stored vector of one space's encoders, never searched."""
    return f"native.{space}"


def check_point(point: Point, layout: Layout) -> None:
    """Raise `ConfigError` where a point's vectors or payload cannot be stored under a layout."""
    if point.space not in layout.natives:
        raise ConfigError(
            f"point {point.id!r}: this index has no space {point.space!r}; it has {', '.join(layout.natives)}"
        )
    for name, vector, dim in (
        ("unified", point.unified, layout.dim),
        ("native", point.native, layout.natives[point.space]),
    ):
        if vector.shape != (dim,) or not np.isfinite(vector).all():
            raise ConfigError(
                f"point {point.id!r}: its {name} vector is not {dim} finite numbers but {vector.shape}"
            )
    check_payload(point.payload, f"point {point.id!r}")


def check_query(vector: Vector, layout: Layout) -> None:
    """Raise `ConfigError` where a query vector cannot be compared under a layout."""
    if vector.shape != (layout.dim,) or not np.isfinite(vector).all():
        raise ConfigError(f"a query vector is {layout.dim} finite numbers; this one has shape {vector.shape}")


def check_payload(payload: Mapping[str, Any], place: str) -> None:
    """Raise `ConfigError` where a payload is not JSON that every backend can hold."""
    if taken := RESERVED & set(payload):
        raise ConfigError(f"{place}: the payload's {sorted(taken)[0]!r} is set by the index")
    for key, value in payload.items():
        check_json(value, f"{place}: {key}")


def stored_payload(point: Point) -> dict[str, Any]:
    """Return the payload stored beside a point's vectors."""
    return {
        **point.payload,
        "id": point.id,
        "modality": point.modality,
        "space": point.space,
        "revision": time.time_ns(),
    }


def stored_vectors(point: Point) -> dict[str, Vector]:
    """Return a point's vectors by the names they are stored under."""
    return {
        UNIFIED: np.ascontiguousarray(point.unified, dtype=np.float32),
        native_name(point.space): np.ascontiguousarray(point.native, dtype=np.float32),
    }


def read_point(payload: Mapping[str, Any], vectors: Mapping[str, Any] | None = None) -> StoredPoint:
    """Return the point of a stored payload and its vectors."""
    rest = {key: value for key, value in payload.items() if key not in RESERVED}
    unified = native = None
    if vectors:
        unified = np.asarray(vectors[UNIFIED], dtype=np.float32)
        native = np.asarray(vectors[native_name(payload["space"])], dtype=np.float32)
    return StoredPoint(payload["id"], payload["modality"], payload["space"], rest, unified, native)

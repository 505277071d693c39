"""Names of collections and ids of points, as callers and as Qdrant know them.

Callers name points by any string; Qdrant wants a UUID, so each gets the UUIDv5 of its collection and id:
the same on every machine, and the same when an item is sent twice.
"""

import re
import uuid

from connectors.errors import ConfigError

NAMESPACE = uuid.UUID("8c2c6c0e-6f0c-5bd5-9d1c-3a6d5f6c1a5e")
"""Fixed for ever: every stored point's id is made from it."""

MAX_ID_CHARACTERS = 1024

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


def check_name(collection: str) -> str:
    """Return a collection's name. Raises `ConfigError` where it cannot be one."""
    if not _NAME.fullmatch(collection):
        raise ConfigError(
            f"{collection[:120]!r} cannot be a collection's name: use up to 100 letters, digits, "
            "'_', '-' and '.', beginning with a letter or digit"
        )
    return collection


def point_uuid(collection: str, point_id: str) -> str:
    """Return the Qdrant id of a caller's id. Raises `ConfigError` for an empty or overlong one."""
    if not point_id or len(point_id) > MAX_ID_CHARACTERS:
        raise ConfigError(
            f"a point's id has 1 to {MAX_ID_CHARACTERS} characters; this one has {len(point_id)}"
        )
    try:
        return str(uuid.uuid5(uuid.uuid5(NAMESPACE, collection), point_id))
    except UnicodeEncodeError:
        raise ConfigError(f"the point id {point_id!r} is not valid Unicode: it has lone surrogates") from None


def check_cursor(cursor: str | None) -> str | None:
    """Return a page's cursor as a Qdrant id. Raises `ConfigError` for one that no page returned."""
    if cursor is None:
        return None
    try:
        return str(uuid.UUID(cursor))
    except (ValueError, AttributeError, TypeError):
        raise ConfigError(f"{str(cursor)[:80]!r} is no cursor: pass the one the former page gave") from None

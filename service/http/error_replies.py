"""Error replies: the status, the body and the headers of each error. The only such table.

It covers every error of the tree and those that the web framework raises itself (404, 405, 413, 422). Bodies
have OpenAI's shape: {"error": {"message", "type", "param", "code", "request_id"}}.
"""

from collections.abc import Mapping
from typing import Any

from connectors.errors import (
    ArtifactError,
    ConfigError,
    FingerprintMismatch,
    InvalidMedia,
    IsthmusError,
    MediaTooLarge,
    UnsupportedMedia,
)
from service.errors import (
    BatchFailed,
    BodyStalled,
    CollectionConflict,
    ConnectorUnfit,
    DeadlineExceeded,
    IndexUnavailable,
    InvalidRequest,
    JobConflict,
    MalformedBody,
    MediaStoreUnavailable,
    NotAcceptable,
    NotFound,
    Overloaded,
    RequestTooLarge,
    Unavailable,
)

STATUS: Mapping[type[IsthmusError], int] = {
    ConfigError: 400,
    MalformedBody: 400,
    NotFound: 404,
    NotAcceptable: 406,
    RequestTooLarge: 413,
    MediaTooLarge: 413,
    UnsupportedMedia: 415,
    InvalidMedia: 422,
    InvalidRequest: 422,
    CollectionConflict: 409,
    JobConflict: 409,
    ConnectorUnfit: 409,
    FingerprintMismatch: 409,
    ArtifactError: 422,
    Overloaded: 429,
    Unavailable: 503,
    IndexUnavailable: 503,
    MediaStoreUnavailable: 503,
    BodyStalled: 408,
    DeadlineExceeded: 504,
}
"""Status of each class; a subclass has its parent's, and everything else is 500."""

FRAMEWORK_CODES: Mapping[int, str] = {
    400: "invalid_request",
    404: "not_found",
    405: "method_not_allowed",
    413: "request_too_large",
    415: "unsupported_media",
    422: "invalid_request",
}
"""Codes of the errors that the web framework raises itself."""


def status_of(error: IsthmusError) -> int:
    """Return an error's HTTP status."""
    if isinstance(error, BatchFailed):
        return status_of(error.items[0].error)
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)


def kind_of(status: int) -> str:
    """Return OpenAI's `type` of an error with this status."""
    if status == 429:
        return "rate_limit_error"
    return "server_error" if status >= 500 else "invalid_request_error"


def item_body(error: IsthmusError, param: str | None = None) -> dict[str, Any]:
    """Return the inner object of an error: message, type, param and code."""
    return {
        "message": error.message,
        "type": kind_of(status_of(error)),
        "param": getattr(error, "param", None) or param,
        "code": error.code,
    }


def error_body(error: IsthmusError, request_id: str) -> dict[str, Any]:
    """Return the whole body of an error reply."""
    if not isinstance(error, BatchFailed):
        return {"error": {**item_body(error), "request_id": request_id}}
    first = error.items[0]
    items = [{"index": e.index, **item_body(e.error, f"{error.field}[{e.index}]")} for e in error.items]
    body = item_body(first.error, error.param)
    return {"error": {**body, "items": items, "request_id": request_id}}


def framework_body(status: int, message: str, param: str | None, request_id: str) -> dict[str, Any]:
    """Return the body of an error that is not ours: an unknown path, a wrong method, a failed validation."""
    code = FRAMEWORK_CODES.get(status, "internal" if status >= 500 else "invalid_request")
    return {
        "error": {
            "message": message,
            "type": kind_of(status),
            "param": param,
            "code": code,
            "request_id": request_id,
        }
    }


def retry_after_of(error: IsthmusError) -> int | None:
    """Return the seconds for the `Retry-After` header, or None where the error has none."""
    if isinstance(error, BatchFailed):
        return retry_after_of(error.items[0].error)
    return getattr(error, "retry_after", None)

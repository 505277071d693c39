"""Hooks every error into the web framework, so that each status has the one error shape.

Ours and the framework's own (404, 405, 413, 422); the ones nobody expected are the envelope's.
"""

import logging
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from connectors.errors import IsthmusError
from service.answering import ClientGone
from service.error_replies import error_body, framework_body, retry_after_of, status_of
from service.json_reply import JsonReply
from service.request_context import SCOPE_KEY, RequestContext
from service.runtime import Runtime

log = logging.getLogger("isthmus")

CLIENT_CLOSED = 499
"""What nginx calls a request whose client went away; nobody receives it, the metrics count it."""


def install_error_handlers(app: FastAPI, runtime: Runtime) -> None:
    """Register a handler for every kind of error."""

    async def ours(request: Request, error: Exception) -> Response:
        assert isinstance(error, IsthmusError)
        return _reply(request, runtime, error)

    async def framework(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if isinstance(error.__cause__, IsthmusError):
            # The framework wraps what is raised while it reads a body.
            return _reply(request, runtime, error.__cause__)
        message = str(error.detail)
        if message == HTTPStatus(error.status_code).phrase:
            message = f"{message}: {request.method} {request.url.path}"
        body = framework_body(error.status_code, message, None, _id(request))
        return JsonReply(body, error.status_code, dict(error.headers or {}))

    async def validation(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        # The framework puts where a parameter was (path, query, header) before its name.
        message, param = describe([{**each, "loc": each["loc"][1:]} for each in error.errors()])
        return JsonReply(framework_body(422, message, param, _id(request)), 422)

    async def gone(request: Request, error: Exception) -> Response:
        return Response(status_code=CLIENT_CLOSED)

    app.add_exception_handler(IsthmusError, ours)
    app.add_exception_handler(HTTPException, framework)
    app.add_exception_handler(RequestValidationError, validation)
    app.add_exception_handler(ClientGone, gone)
    app.add_exception_handler(ClientDisconnect, gone)  # in the midst of its body


def describe(errors: Sequence[Any]) -> tuple[str, str | None]:
    """What the first of pydantic's errors says, and the path of the field it is about."""
    first = errors[0]
    path = ""
    for part in first["loc"]:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    more = f" ({len(errors) - 1} more like it)" if len(errors) > 1 else ""
    reason = first["msg"].removeprefix("Value error, ")
    return (f"{path}: {reason}{more}" if path else f"{reason}{more}"), path or None


def _reply(request: Request, runtime: Runtime, error: IsthmusError) -> Response:
    status = status_of(error)
    retry_after = retry_after_of(error)
    if status in (429, 503, 504):
        runtime.metrics.rejected.labels(error.code).inc()
    if status == 500:
        log.error("request %s: %s", _id(request), error.message, exc_info=error)
    headers = {} if retry_after is None else {"retry-after": str(retry_after)}
    return JsonReply(error_body(error, _id(request)), status, headers)


def _id(request: Request) -> str:
    context: RequestContext | None = request.scope.get(SCOPE_KEY)
    return context.id if context else ""

"""The handlers that turn every error into a reply, registered with the web framework.

The middleware answers unexpected ones.
"""

import logging
from http import HTTPStatus

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from connectors.errors import IsthmusError
from service.http.dependencies import ClientDisconnected
from service.http.error_replies import error_body, framework_body, retry_after_of, status_of
from service.http.replies import JsonReply
from service.http.request_state import id_of
from service.metrics import Metrics
from service.schemas.validation import describe

log = logging.getLogger("isthmus")

CLIENT_CLOSED = 499
"""nginx's status for a request whose client went away; nobody receives it, the metrics count it."""


def install_error_handlers(app: FastAPI, metrics: Metrics) -> None:
    """Register a handler for every kind of error."""

    async def ours(request: Request, error: Exception) -> Response:
        assert isinstance(error, IsthmusError)
        return _reply(request, metrics, error)

    async def framework(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if isinstance(error.__cause__, IsthmusError):
            # The framework wraps what is raised while it reads a body.
            return _reply(request, metrics, error.__cause__)
        message = str(error.detail)
        if message == HTTPStatus(error.status_code).phrase:
            message = f"{message}: {request.method} {request.url.path}"
        body = framework_body(error.status_code, message, None, id_of(request.scope))
        return JsonReply(body, error.status_code, dict(error.headers or {}))

    async def validation(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        # The framework puts where a parameter was (path, query, header) before its name.
        message, param = describe([{**each, "loc": each["loc"][1:]} for each in error.errors()])
        return JsonReply(framework_body(422, message, param, id_of(request.scope)), 422)

    async def gone(request: Request, error: Exception) -> Response:
        return Response(status_code=CLIENT_CLOSED)

    app.add_exception_handler(IsthmusError, ours)
    app.add_exception_handler(HTTPException, framework)
    app.add_exception_handler(RequestValidationError, validation)
    app.add_exception_handler(ClientDisconnected, gone)
    app.add_exception_handler(ClientDisconnect, gone)  # in the midst of its body


def _reply(request: Request, metrics: Metrics, error: IsthmusError) -> Response:
    status = status_of(error)
    retry_after = retry_after_of(error)
    if status in (429, 503, 504):
        metrics.rejected.labels(error.code).inc()
    if status == 500:
        log.error("request %s: %s", id_of(request.scope), error.message, exc_info=error)
    headers = {} if retry_after is None else {"retry-after": str(retry_after)}
    return JsonReply(error_body(error, id_of(request.scope)), status, headers)

"""The OpenAPI description, where bodies are read by our own code and not by the framework.

`request_body` describes an operation's body with examples, `example_reply` its replies; `install_openapi`
adds the models they refer to.
"""

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from service.schemas import requests
from service.schemas.replies import ErrorReply

REF = "#/components/schemas/{model}"
MODELS: tuple[type[BaseModel], ...] = (
    requests.EmbedBody,
    requests.SearchBody,
    requests.FormSearchParams,
    requests.ClassifyBody,
    requests.CollectionBody,
    requests.PatchBody,
    requests.IngestBody,
    requests.EmbeddingsBody,
)

ERROR_EXAMPLE: Mapping[str, Any] = {
    "error": {
        "message": "cat.png is named .png but holds text",
        "type": "invalid_request_error",
        "param": "items[0]",
        "code": "invalid_media",
        "request_id": "7d0b5f6f0f6a4b0c9d6c1f6e0f3a2b1c",
        "items": [
            {
                "index": 0,
                "message": "cat.png is named .png but holds text",
                "type": "invalid_request_error",
                "param": "items[0]",
                "code": "invalid_media",
            }
        ],
    }
}


ERROR_REPLIES: Mapping[int | str, dict[str, Any]] = {
    "4XX": {
        "model": ErrorReply,
        "description": "The request cannot be answered as it is",
        "content": {"application/json": {"example": ERROR_EXAMPLE}},
    },
    "5XX": {
        "model": ErrorReply,
        "description": "The service cannot answer; after 503 and 504 it may be asked again",
    },
}
"""The errors of every operation."""


def example_reply(
    example: Any, others: Mapping[str, Any] | None = None, status: int = 200
) -> dict[int | str, dict[str, Any]]:
    """Return an operation's `responses`: an example of its reply, and the errors common to all.

    Its `response_model` describes the reply. `others` describes, by content type, what it answers in place of
    JSON where `Accept` asks for it.
    """
    content = {"application/json": {"example": example}, **(others or {})}
    return {status: {"description": "Done", "content": content}, **ERROR_REPLIES}


def request_body(
    model: type[BaseModel], examples: Mapping[str, Any], form: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return an operation's `openapi_extra`: its JSON body with named examples, and its form's fields."""
    content: dict[str, Any] = {
        "application/json": {
            "schema": {"$ref": REF.format(model=model.__name__)},
            "examples": {name: {"value": value} for name, value in examples.items()},
        }
    }
    if form is not None:
        content["multipart/form-data"] = {"schema": {"type": "object", "properties": dict(form)}}
    return {"requestBody": {"required": True, "content": content}}


def install_openapi(app: FastAPI) -> None:
    """Make the app's description complete."""

    def describe() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(
                title=app.title, version=app.version, description=app.description, routes=app.routes
            )
            _, definitions = models_json_schema([(m, "validation") for m in MODELS], ref_template=REF)
            schemas = schema.setdefault("components", {}).setdefault("schemas", {})
            schemas.update(definitions.get("$defs", {}))
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = describe  # type: ignore[method-assign]

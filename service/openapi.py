"""The OpenAPI description, where bodies are read by our own code and not by the framework.

`json_body` and `form_body` describe an operation's body with examples; `install_openapi` adds the models they
refer to, and the error shape that every operation shares.
"""

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from service import bodies

REF = "#/components/schemas/{model}"
MODELS: tuple[type[BaseModel], ...] = (
    bodies.EmbedBody,
    bodies.SearchBody,
    bodies.FormSearchParams,
    bodies.ClassifyBody,
    bodies.CollectionBody,
    bodies.PatchBody,
    bodies.IngestBody,
    bodies.EmbeddingsBody,
)

ERROR_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code", "request_id"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": "string"},
                "request_id": {"type": "string"},
                "items": {"type": "array", "items": {"type": "object"}},
            },
        }
    },
}
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


def example_reply(
    example: Any, others: Mapping[str, Any] | None = None, status: int = 200
) -> dict[int | str, dict[str, Any]]:
    """An operation's `responses`: what it answers when all is well, and the shape of every error.

    `others` describes what it answers by `Accept` in place of JSON, by content type.
    """
    content = {"application/json": {"example": example}, **(others or {})}
    error = {"schema": {"$ref": REF.format(model="Error")}}
    return {
        status: {"description": "Done", "content": content},
        "4XX": {
            "description": "What is wrong with the request",
            "content": {"application/json": {**error, "example": dict(ERROR_EXAMPLE)}},
        },
        "5XX": {
            "description": "What keeps the service from answering; after 503 and 504 it may be asked again",
            "content": {"application/json": error},
        },
    }


def request_body(
    model: type[BaseModel], examples: Mapping[str, Any], form: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """An operation's `openapi_extra`: its JSON body with named examples, and its form's fields."""
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
            schemas["Error"] = dict(ERROR_SCHEMA)
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = describe  # type: ignore[method-assign]

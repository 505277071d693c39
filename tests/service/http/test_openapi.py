"""The description leaves nothing open: a client generated from it knows every field of every reply."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.http.app import create_app
from service.settings import Settings

OPEN = {"metadata", "filter", "group"}
"""Fields whose values are the user's own JSON: metadata, filters, and the value of a payload field."""


@pytest.fixture(scope="module")
def description(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    app = create_app(Settings(data_dir=tmp_path_factory.mktemp("data")))
    described: dict[str, Any] = json.loads(json.dumps(app.openapi()))
    return described


def open_schemas(schema: Any, place: Path) -> Iterator[str]:
    """The places of schemas that allow any value, under `schema`."""
    if not isinstance(schema, dict):
        return
    known = {"type", "$ref", "anyOf", "oneOf", "allOf", "enum", "const"}
    if not known & set(schema):
        yield str(place)
    if schema.get("type") == "object" and "properties" not in schema and "additionalProperties" not in schema:
        yield str(place)
    if schema.get("additionalProperties") is True:
        yield str(place)
    for name, inner in schema.get("properties", {}).items():
        if name not in OPEN:
            yield from open_schemas(inner, place / name)
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), dict):
            yield from open_schemas(schema[name], place / name)
    for name in ("anyOf", "oneOf", "allOf"):
        for i, inner in enumerate(schema.get(name, [])):
            yield from open_schemas(inner, place / f"{name}[{i}]")


def test_no_schema_is_open_but_the_users_own_json(description: dict[str, Any]) -> None:
    schemas = description["components"]["schemas"]
    found = [
        place
        for name, schema in schemas.items()
        if name != "JsonValue"
        for place in open_schemas(schema, Path(name))
    ]
    assert not found


def test_every_operation_has_a_typed_reply_and_typed_errors(description: dict[str, Any]) -> None:
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            where = f"{method} {path}"
            replies = operation["responses"]
            done = next(reply for status, reply in replies.items() if status.startswith("2"))
            for content_type, content in done["content"].items():
                found = list(open_schemas(content.get("schema", {}), Path(content_type)))
                assert not found or content_type == "text/plain", where
            for status in ("4XX", "5XX"):
                schema = replies[status]["content"]["application/json"]["schema"]
                assert schema == {"$ref": "#/components/schemas/ErrorReply"}, where


def test_no_schema_refers_to_itself(description: dict[str, Any]) -> None:
    """Generators of TypeScript write a type that no compiler takes."""
    for name, schema in description["components"]["schemas"].items():
        assert f"#/components/schemas/{name}" not in json.dumps(schema), name


def test_media_fields_are_those_of_the_table(description: dict[str, Any]) -> None:
    from service.schemas.fields import MEDIA_FIELDS

    for name in ("EmbedItem", "QueryItem", "ClassifyItem", "OneMedia"):
        assert set(MEDIA_FIELDS) <= set(description["components"]["schemas"][name]["properties"])

"""Every JSON reply that a test receives is checked against the model that OpenAPI names for it."""

import re
from functools import lru_cache

import httpx
from pydantic import BaseModel

from service.http.app import create_app
from service.schemas import connector_replies, job_replies, replies
from service.settings import Settings

MODULES = (replies, job_replies, connector_replies)


@lru_cache(maxsize=1)
def reply_models() -> dict[str, list[tuple[re.Pattern[str], type[BaseModel]]]]:
    """Path and reply model of every operation, by method; paths with parameters come last."""
    found: dict[str, list[tuple[re.Pattern[str], type[BaseModel]]]] = {}
    paths = create_app(Settings()).openapi()["paths"]
    for path in sorted(paths, key=lambda path: (path.count("{"), -len(path))):
        pattern = re.compile(re.sub(r"\{\w+\}", ".+", path))
        for method, operation in paths[path].items():
            done = next(reply for status, reply in operation["responses"].items() if status.startswith("2"))
            reference = done["content"].get("application/json", {}).get("schema", {}).get("$ref", "")
            if reference:
                name = reference.rpartition("/")[2]
                model = next(getattr(each, name) for each in MODULES if hasattr(each, name))
                found.setdefault(method.upper(), []).append((pattern, model))
    return found


def check_reply(reply: httpx.Response) -> None:
    """Fail where a JSON reply is not what its model says, or holds a field that its model does not."""
    path, method = reply.request.url.path, reply.request.method
    if not reply.headers.get("content-type", "").startswith("application/json") or path == "/openapi.json":
        return
    reply.read()
    if reply.is_error and path != "/readyz":
        replies.ErrorReply.model_validate_json(reply.content, extra="forbid")
        return
    model = next((model for where, model in reply_models()[method] if where.fullmatch(path)), None)
    assert model is not None, f"{method} {path} answers JSON and has no reply model"
    model.model_validate_json(reply.content, extra="forbid")

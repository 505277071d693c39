"""The reply of every operation: JSON, written by pydantic's serialiser, which is fast on vectors."""

from collections.abc import Mapping
from typing import Any

from pydantic_core import to_json
from starlette.responses import Response


class JsonReply(Response):
    """A JSON reply. NumPy vectors are given as lists by whoever makes the content."""

    media_type = "application/json"

    def __init__(
        self, content: Any, status_code: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(content, status_code, headers)

    def render(self, content: Any) -> bytes:
        """The content as UTF-8 JSON; infinities become null."""
        return to_json(content, inf_nan_mode="null")

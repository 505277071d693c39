"""The reply of every operation: JSON, written by pydantic's serialiser, which is fast on vectors."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic_core import to_json
from starlette.responses import Response

WRITTEN_AT_ONCE = 32
"""Vectors written on the event loop: a millisecond's work. More are written on a thread."""


class JsonReply(Response):
    """A JSON reply. NumPy vectors are given as lists by whoever makes the content."""

    media_type = "application/json"

    def __init__(
        self, content: Any, status_code: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(content, status_code, headers)

    def render(self, content: Any) -> bytes:
        """The content as UTF-8 JSON; infinities become null. Bytes are JSON already."""
        return content if isinstance(content, bytes) else written(content)


def written(content: Any) -> bytes:
    """The content as UTF-8 JSON; infinities become null."""
    return to_json(content, inf_nan_mode="null")


async def list_reply(name: str, items: Iterable[Any], count: int, rest: Mapping[str, Any]) -> JsonReply:
    """`{name: [items], **rest}`, where `rest` is not empty and the `count` items may have vectors.

    Many are written on a thread, one by one: writing one keeps the interpreter to itself, and all together
    would keep every other request waiting.
    """

    def joined() -> bytes:
        return b",".join(map(written, items))

    listed = joined() if count <= WRITTEN_AT_ONCE else await asyncio.to_thread(joined)
    return JsonReply(b"{" + written(name) + b":[" + listed + b"]," + written(rest)[1:])

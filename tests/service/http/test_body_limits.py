"""A body that comes too slowly is given up, and what was held of it is free again."""

import asyncio

import pytest
from starlette.types import Message, Receive, Scope, Send

from service.errors import BodyStalled
from service.http.body_limits import BodyLimits
from service.metrics import Metrics
from service.settings import Settings


def test_a_client_that_stops_in_the_midst_of_its_body_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("service.http.body_limits.STALL_SECONDS", 0.05)
    parts: list[Message] = [{"type": "http.request", "body": b"half", "more_body": True}]
    metrics, failures = Metrics(), list[Exception]()

    async def receive() -> Message:
        if not parts:
            await asyncio.Event().wait()
        return parts.pop()

    async def send(message: Message) -> None:
        pass

    async def reads(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            while (await receive())["more_body"]:
                pass
        except BodyStalled as error:
            failures.append(error)
            raise

    scope = {"type": "http", "method": "POST", "path": "/embed", "headers": []}
    limits = BodyLimits(reads, Settings(), metrics)
    with pytest.raises(BodyStalled):
        asyncio.run(limits(scope, receive, send))
    assert len(failures) == 1 and "4 bytes" in str(failures[0])
    assert b"isthmus_body_bytes 0.0" in metrics.exposition()

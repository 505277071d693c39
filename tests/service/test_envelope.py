"""What goes around every request, around an app that breaks."""

import asyncio

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from service.door import Door
from service.envelope import Envelope
from service.errors import BodyStalled
from service.metrics import Metrics
from service.settings import Settings


def ask(app: object, metrics: Metrics | None = None) -> httpx.Response:
    door = Door(lambda: False, lambda modality: None)
    envelope = Envelope(app, metrics or Metrics(), Settings(), door)  # type: ignore[arg-type]

    async def run() -> httpx.Response:
        transport = httpx.ASGITransport(envelope)
        async with httpx.AsyncClient(transport=transport, base_url="http://isthmus") as client:
            return await client.get("/embed", headers={"x-request-id": "abc"})

    return asyncio.run(run())


def test_what_nobody_expected_is_a_500_that_names_its_request_and_has_all_headers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def breaks(scope: Scope, receive: Receive, send: Send) -> None:
        raise ZeroDivisionError("a secret of ours")

    metrics = Metrics()
    reply = ask(breaks, metrics)
    assert reply.status_code == 500
    error = reply.json()["error"]
    assert error["request_id"] == "abc" and "abc" in error["message"] and "secret" not in reply.text
    assert reply.headers["x-request-id"] == "abc"
    assert "total;dur=" in reply.headers["server-timing"] and float(reply.headers["x-queue-time"]) == 0
    assert "a secret of ours" in caplog.text
    assert b'status="500"' in metrics.exposition()


def test_half_a_reply_is_not_followed_by_another(caplog: pytest.LogCaptureFixture) -> None:
    async def breaks_off(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ask(breaks_off)


def test_a_client_that_stops_in_the_midst_of_its_body_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("service.envelope.STALL_SECONDS", 0.05)
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
    envelope = Envelope(reads, metrics, Settings(), Door(lambda: False, lambda modality, patient: None))
    asyncio.run(envelope(scope, receive, send))
    assert len(failures) == 1 and "4 bytes" in str(failures[0])
    assert b"isthmus_body_bytes 0.0" in metrics.exposition()

"""What goes around every request, around an app that breaks."""

import asyncio

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from service.http.middleware import RequestMiddleware
from service.metrics import Metrics


def ask(app: object, metrics: Metrics | None = None) -> httpx.Response:
    middleware = RequestMiddleware(app, metrics or Metrics())  # type: ignore[arg-type]

    async def run() -> httpx.Response:
        transport = httpx.ASGITransport(middleware)
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

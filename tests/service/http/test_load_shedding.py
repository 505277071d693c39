"""While a queue is full, requests for it are refused before they are parsed, and others pass whole."""

import asyncio
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from connectors.modality import Modality
from service.errors import Overloaded
from service.http.load_shedding import LoadShedder
from service.metrics import Metrics

PASSED = "passed"


class FullEngine:
    """An engine with too many texts and images waiting; a point cloud would only be late."""

    def __init__(self, full: bool = True) -> None:
        self.admission = self
        self._full = full

    def full(self, seconds_left: float) -> bool:
        return self._full

    def refusal(self, modality: Modality, seconds_left: float) -> Overloaded | None:
        late = modality == "point_cloud" and seconds_left < 100
        return Overloaded(modality, 3) if modality in ("text", "image") or late else None


class Exchange:
    """One request to a load shedder in front of an app that reads the body: what came of it."""

    def __init__(self, shedder_of: Any, path: str, headers: tuple[tuple[bytes, bytes], ...]) -> None:
        self.body = b""
        self.sent: list[Message] = []
        self.scope = {"type": "http", "path": path, "method": "POST", "headers": headers}
        self.shedder = shedder_of(self.app)

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.sent.append({"type": PASSED})
        while True:
            message = await receive()
            self.body += message["body"]
            if not message["more_body"]:
                return

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    @property
    def refused(self) -> str | None:
        """What the reply says, None where the app was asked."""
        if self.sent[0]["type"] == PASSED:
            return None
        assert self.sent[0]["status"] == 429
        assert (b"retry-after", b"3") in self.sent[0]["headers"]
        return self.sent[1]["body"].decode()


def shedder(app: Any, full: bool = True) -> LoadShedder:
    engine: Any = FullEngine(full)
    return LoadShedder(app, lambda: engine, 60.0, Metrics())


def ask(
    body: bytes, *, path: str = "/embed", full: bool = True, headers: tuple[tuple[bytes, bytes], ...] = ()
) -> tuple[str | None, bytes]:
    """The queue a request was refused for, or None, and the body that the operation read."""
    messages = [
        {"type": "http.request", "body": body[:50], "more_body": True},
        {"type": "http.request", "body": body[50:], "more_body": False},
    ]

    async def receive() -> Message:
        return messages.pop(0)

    exchange = Exchange(lambda app: shedder(app, full), path, headers)
    asyncio.run(exchange.shedder(exchange.scope, receive, exchange.send))
    refused = exchange.refused
    if refused is not None:
        refused = next(name for name in ("text", "image", "point_cloud") if f'"{name}"' in refused)
    return refused, exchange.body


@pytest.mark.parametrize(
    ("body", "queue"),
    [
        (b'{"items": [{"text": "a dog"}]}', "text"),
        (b'{"items":[{"id":"1","image" : "AAAA"}]}', "image"),
        (b'{"items": [{"text": "a dog", "metadata": {"audio": "a bark"}}]}', "text"),
        (b'{"input": "a dog", "model": "x"}', "text"),
        (b'{"model": "x", "input": ["a", "b"]}', "text"),
        (b'{"input": [{"image": "AAAA"}]}', "image"),
    ],
)
def test_what_a_full_queue_would_hold_is_refused(body: bytes, queue: str) -> None:
    assert ask(body)[0] == queue


@pytest.mark.parametrize(
    "body",
    [
        b'{"items": [{"audio": "' + b"A" * 200 + b'"}]}',
        b'{"items": [{"metadata": {"text": "a caption"}, "audio": "AAAA"}]}',
        b'{"items": []}',
        b"",
        b"--boundary\r\ncontent-disposition: form-data; name=files\r\n\r\n\xff\xd8",
    ],
)
def test_everything_else_passes_whole(body: bytes) -> None:
    assert ask(body) == (None, body)


def test_nothing_is_looked_at_where_no_queue_is_full_or_nothing_is_embedded() -> None:
    body = b'{"items": [{"text": "a dog"}]}'
    assert ask(body, full=False) == (None, body)
    assert ask(body, path="/search") == (None, body)


def test_what_sets_its_own_deadline_is_not_refused_for_being_late() -> None:
    deadline = ((b"x-request-timeout", b"600"),)
    late = b'{"items": [{"point_cloud": "' + b"A" * 200 + b'"}]}'
    assert ask(late)[0] == "point_cloud"
    assert ask(late, headers=deadline) == (None, late)
    assert ask(b'{"items": [{"text": "a dog"}]}', headers=deadline)[0] == "text"


def test_those_refused_are_told_at_once_and_one_that_leaves_keeps_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("service.http.load_shedding.HOLD_SECONDS", 0.2)
    body = b'{"items": [{"text": "a dog"}]}'

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def run() -> None:
        one = Exchange(shedder, "/embed", ())
        others = [Exchange(shedder, "/embed", ()) for _ in range(2)]
        tasks = [asyncio.create_task(one.shedder(each.scope, receive, each.send)) for each in (one, *others)]
        await asyncio.sleep(0)  # all are held now
        tasks.pop(0).cancel()
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        assert done == set(tasks)
        assert [each.refused is not None for each in others] == [True, True]
        assert not one.sent
        await one.shedder(one.scope, receive, one.send)
        assert one.refused is not None

    asyncio.run(run())


def test_a_client_that_sends_no_body_is_not_waited_for_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.http.load_shedding.PEEK_SECONDS", 0.01)
    asked = 0

    async def receive() -> Message:
        nonlocal asked
        asked += 1
        if asked == 1:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": b"late", "more_body": False}

    exchange = Exchange(shedder, "/embed", ())
    asyncio.run(exchange.shedder(exchange.scope, receive, exchange.send))
    assert (exchange.refused, exchange.body) == (None, b"late")

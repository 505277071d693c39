"""Behind a real uvicorn server, requests for a full queue are refused and all others have their answers."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from connectors.modality import Modality
from service.errors import Overloaded
from service.http.load_shedding import LoadShedder
from service.http.middleware import RequestMiddleware
from service.http.server import listen
from service.metrics import Metrics


class Service:
    """A server of an app that answers 200 and the body it was sent, while the queue of texts is full."""

    def __init__(self) -> None:
        self.crowded = True
        self.asked: list[bytes] = []
        self.metrics = Metrics()
        engine: Any = self
        self.admission = self
        app = LoadShedder(self.app, lambda: engine, 60.0, self.metrics)
        config = uvicorn.Config(
            RequestMiddleware(app, self.metrics),
            loop="asyncio",
            http="httptools",
            log_config=None,
            lifespan="off",
        )
        self.server = uvicorn.Server(config)

    def full(self, seconds_left: float) -> bool:
        return self.crowded

    def refusal(self, modality: Modality, seconds_left: float) -> Overloaded | None:
        return Overloaded("the queue is full", 7) if modality == "text" else None

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        while True:
            message = await receive()
            body += message["body"]
            if not message["more_body"]:
                break
        self.asked.append(body)
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def run(self, client: Callable[["Client"], Awaitable[None]]) -> None:
        async def work() -> None:
            with listen("127.0.0.1", 0) as listener:
                serving = asyncio.create_task(self.server.serve([listener]))
                async with asyncio.timeout(60):
                    reader, writer = await asyncio.open_connection(*listener.getsockname()[:2])
                    try:
                        await client(Client(reader, writer))
                    finally:
                        writer.close()
                        with suppress(OSError):
                            await writer.wait_closed()
                        self.server.should_exit = True
                        await serving

        asyncio.run(work())


class Client:
    """A connection to it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self.writer = reader, writer

    async def send(self, *parts: bytes) -> None:
        for part in parts:
            self.writer.write(part)
            await self.writer.drain()

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
        line, *rows = head.strip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (row.partition(":") for row in rows)}
        return int(line.split()[1]), headers, await self._reader.readexactly(int(headers["content-length"]))


def request(body: bytes, *headers: bytes, path: bytes = b"/embed", method: bytes = b"POST") -> bytes:
    lines = [b"%b %b HTTP/1.1" % (method, path), b"host: here", b"content-length: %d" % len(body), *headers]
    return b"\r\n".join([*lines, b"", body])


TEXT = b'{"items": [{"text": "a dog"}]}'
IMAGE = b'{"items": [{"image": "AAAA"}]}'


@pytest.fixture
def service() -> Service:
    return Service()


def test_a_request_for_a_full_queue_never_reaches_the_app(service: Service) -> None:
    async def client(client: Client) -> None:
        await client.send(request(TEXT, b"X-Request-Id: mine"))
        status, headers, body = await client.answer()
        assert (status, headers["retry-after"]) == (429, "7")
        assert headers["content-type"] == "application/json"
        assert json.loads(body)["error"]["request_id"] == headers["x-request-id"] == "mine"
        assert {"server-timing", "x-queue-time", "x-total-time", "date"} <= headers.keys()
        assert service.asked == []
        await client.send(request(IMAGE))
        assert (await client.answer())[::2] == (200, IMAGE)
        service.crowded = False
        await client.send(request(TEXT))
        assert (await client.answer())[::2] == (200, TEXT)

    service.run(client)
    text = service.metrics.exposition().decode()
    assert 'isthmus_rejected_total{code="overloaded"} 1.0' in text
    assert 'isthmus_request_seconds_count{route="/embed",status="429"} 1.0' in text


@pytest.mark.parametrize(
    "other",
    [
        request(TEXT, path=b"/search"),
        request(TEXT, method=b"PUT"),
        request(TEXT, b"content-type: text/plain"),
        request(b'{"items": [{"metadata": {"text": 1}, "image": "AAAA"}]}'),
    ],
)
def test_other_requests_are_the_apps(service: Service, other: bytes) -> None:
    async def client(client: Client) -> None:
        await client.send(other)
        assert (await client.answer())[0] == 200

    service.run(client)


@pytest.mark.parametrize(
    "header",
    [b"Content-Length: 5", b"x: a\nTransfer-Encoding: chunked", b"x: a\rb", b" folded: yes", b"na\x00me: x"],
)
def test_a_head_that_can_be_read_in_two_ways_is_the_servers_to_judge(service: Service, header: bytes) -> None:
    async def client(client: Client) -> None:
        await client.send(request(TEXT, header))
        with suppress(asyncio.IncompleteReadError):
            assert (await client.answer())[0] in (400, 429)

    service.run(client)


def test_answers_go_out_in_the_order_of_their_requests(service: Service) -> None:
    async def client(client: Client) -> None:
        await client.send(*(request(body) for body in (TEXT, IMAGE, TEXT)))
        assert [(await client.answer())[0] for _ in range(3)] == [429, 200, 429]

    service.run(client)


def test_a_body_in_pieces_is_refused_by_its_beginning_and_the_next_request_is_read_whole(
    service: Service,
) -> None:
    async def client(client: Client) -> None:
        whole = request(TEXT)
        await client.send(whole[:-3], whole[-3:])
        assert (await client.answer())[0] == 429
        await client.send(request(IMAGE))
        assert (await client.answer())[::2] == (200, IMAGE)

    service.run(client)


def test_a_client_that_leaves_while_it_is_held_harms_nobody(service: Service) -> None:
    async def client(client: Client) -> None:
        await client.send(request(TEXT))
        client.writer.transport.abort()

    service.run(client)

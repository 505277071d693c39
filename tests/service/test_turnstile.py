"""At the connection, requests for a full queue are answered before the app hears of them."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from connectors.modality import Modality
from service.door import Door
from service.errors import Overloaded
from service.metrics import Metrics
from service.turnstile import turnstile


class Service:
    """The protocol around an app that answers every request with 200 and its body, at a door to be shut."""

    def __init__(self) -> None:
        self.shut = True
        self.asked: list[bytes] = []
        self.metrics = Metrics()
        self.state = ServerState()
        self.state.default_headers = [(b"date", b"today")]

        def refuse(modality: Modality, patient: bool) -> Overloaded | None:
            return Overloaded("the queue is full", 7) if modality == "text" else None

        self.protocol = turnstile(Door(lambda: self.shut, refuse), self.metrics)
        self.config = uvicorn.Config(self.app, http=self.protocol, interface="asgi3", log_config=None)
        self.config.load()

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
            made: list[asyncio.Protocol] = []

            def make() -> asyncio.Protocol:
                made.append(self.protocol(config=self.config, server_state=self.state, app_state={}))
                return made[-1]

            server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0)
            async with server, asyncio.timeout(60):
                reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
                while not made:
                    await asyncio.sleep(0.001)
                try:
                    await client(Client(reader, writer, made[0]))
                finally:
                    writer.close()
                    with suppress(OSError):
                        await writer.wait_closed()
                    while self.state.connections:
                        await asyncio.sleep(0.001)

        asyncio.run(work())


class Client:
    """A connection to it."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, protocol: asyncio.Protocol
    ) -> None:
        self._reader, self.writer, self.protocol = reader, writer, protocol

    def send(self, *parts: bytes) -> None:
        for part in parts:
            self.writer.write(part)

    async def receive(self) -> bytes:
        return await self._reader.read(65536)

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


def test_a_reply_is_one_packet(service: Service) -> None:
    async def client(client: Client) -> None:
        service.shut = False
        client.send(request(TEXT))
        packet = await client.receive()
        assert packet.startswith(b"HTTP/1.1 200") and packet.endswith(TEXT)

    service.run(client)


def test_a_client_that_sends_no_more_has_its_answer(service: Service) -> None:
    async def client(client: Client) -> None:
        service.shut = False
        client.send(request(TEXT))
        client.writer.write_eof()
        assert (await client.answer())[0] == 200

    service.run(client)


def test_a_request_for_a_full_queue_never_reaches_the_app(service: Service) -> None:
    async def client(client: Client) -> None:
        client.send(request(TEXT))
        status, headers, body = await client.answer()
        assert (status, headers["retry-after"]) == (429, "7")
        assert headers["content-type"] == "application/json"
        assert json.loads(body)["error"]["request_id"] == headers["x-request-id"]
        assert {"server-timing", "x-queue-time", "x-total-time", "date"} <= headers.keys()
        assert service.asked == []
        client.send(request(IMAGE))
        assert (await client.answer())[::2] == (200, IMAGE)
        service.shut = False
        client.send(request(TEXT))
        assert (await client.answer())[::2] == (200, TEXT)

    service.run(client)
    text = service.metrics.exposition().decode()
    assert 'isthmus_rejected_total{code="overloaded"} 1.0' in text
    assert 'isthmus_request_seconds_count{route="/embed",status="429"} 1.0' in text


@pytest.mark.parametrize(
    "header",
    [
        b"X-Request-Id: mine",
        b"x-request-timeout: 5",
        b"Connection: close",
        b"Expect: 100-continue-not",
        b"content-type: text/plain",
    ],
)
def test_requests_that_ask_for_something_special_are_the_apps(service: Service, header: bytes) -> None:
    async def client(client: Client) -> None:
        client.send(request(TEXT, header))
        assert (await client.answer())[0] == 200

    service.run(client)


@pytest.mark.parametrize(
    "other",
    [
        request(TEXT, path=b"/search"),
        request(TEXT, method=b"PUT"),
        request(b'{"items": [{"metadata": {"text": 1}, "image": "AAAA"}]}'),
        request(TEXT).replace(b"HTTP/1.1", b"HTTP/1.0").replace(b"host: here", b"connection: keep-alive"),
    ],
)
def test_other_requests_are_the_apps(service: Service, other: bytes) -> None:
    async def client(client: Client) -> None:
        client.send(other)
        assert (await client.answer())[0] == 200

    service.run(client)


@pytest.mark.parametrize(
    "header",
    [
        b"Content-Length: 5",
        b"x: a\nTransfer-Encoding: chunked",
        b"x: a\rb",
        b" folded: yes",
        b"no colon",
        b"na\x00me: x",
    ],
)
def test_a_head_that_can_be_read_in_two_ways_is_the_parsers(service: Service, header: bytes) -> None:
    async def client(client: Client) -> None:
        client.send(request(TEXT, header))
        assert (await client.answer())[0] in (200, 400)

    service.run(client)


@pytest.mark.parametrize("length", [b"0" * 5000 + b"5", b"x", b"-1", b"999999999"])
def test_a_length_that_is_none_is_the_parsers(service: Service, length: bytes) -> None:
    async def client(client: Client) -> None:
        whole = request(TEXT, b"content-type: application/json")
        client.send(whole.replace(b"content-length: %d" % len(TEXT), b"content-length: " + length))
        client.writer.write_eof()
        await asyncio.sleep(0.2)

    service.run(client)
    assert service.metrics.rejected.labels("overloaded")._value.get() == 0


def test_of_many_requests_at_once_on_one_connection_some_are_the_apps(service: Service) -> None:
    async def client(client: Client) -> None:
        for _ in range(30):
            client.send(request(TEXT))
            await asyncio.sleep(0.002)
        statuses = [(await client.answer())[0] for _ in range(30)]
        assert {429, 200} == set(statuses)

    service.run(client)


def test_a_request_in_pieces_is_the_apps_and_the_next_is_not(service: Service) -> None:
    async def client(client: Client) -> None:
        whole = request(TEXT)
        for cut in (10, whole.index(b"\r\n\r\n") + 2, len(whole) - 3):
            client.send(whole[:cut])
            await asyncio.sleep(0.05)
            client.send(whole[cut:])
            assert (await client.answer())[::2] == (200, TEXT)
        client.send(whole)
        assert (await client.answer())[0] == 429

    service.run(client)


def test_what_looks_like_a_request_inside_a_body_is_none(service: Service) -> None:
    async def client(client: Client) -> None:
        inner = request(TEXT)
        whole = request(inner, path=b"/embed")
        client.send(whole[: -len(inner)])
        await asyncio.sleep(0.05)
        client.send(inner)
        assert (await client.answer())[::2] == (200, inner)

    service.run(client)


def test_answers_go_out_in_the_order_of_their_requests(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.door.HOLD_SECONDS", 0.3)

    async def client(client: Client) -> None:
        for body in (TEXT, IMAGE, TEXT):
            client.send(request(body))
            await asyncio.sleep(0.05)
        assert [(await client.answer())[0] for _ in range(3)] == [429, 200, 429]

    service.run(client)


def test_who_is_held_when_the_server_ends_is_told(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.door.HOLD_SECONDS", 60)

    async def client(client: Client) -> None:
        client.send(request(TEXT))
        await asyncio.sleep(0.1)
        client.protocol.shutdown()
        assert (await client.answer())[0] == 429

    service.run(client)


def test_a_client_that_leaves_while_it_is_held_harms_nobody(service: Service) -> None:
    async def client(client: Client) -> None:
        client.send(request(TEXT))
        await asyncio.sleep(0.01)
        client.writer.transport.abort()
        await asyncio.sleep(0.2)

    service.run(client)
    assert not service.state.connections


def test_a_request_that_begins_in_the_packet_of_another_is_the_apps(service: Service) -> None:
    async def client(client: Client) -> None:
        whole = request(TEXT)
        client.send(whole + whole[:20])
        await asyncio.sleep(0.05)
        client.send(whole[20:])
        assert [(await client.answer())[::2] for _ in range(2)] == [(200, TEXT)] * 2

    service.run(client)

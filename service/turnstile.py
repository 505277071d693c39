"""Turning requests away before they cost anything: at the connection, while a queue is full.

A refusal by the app costs a task, the framework's layers and two writes: ten times too many requests took a
third of two cores. Given the door, `turnstile` makes uvicorn's HTTP protocol into one that answers a request
itself where it came whole and the door would turn it away. Everything else goes on to uvicorn untouched.
"""

import asyncio
import re
import time
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from service.door import PATHS, Door
from service.envelope import timing_headers, turned_away
from service.errors import Overloaded
from service.joined_writes import JoinedWrites
from service.metrics import Metrics
from service.request_context import RequestContext

HEAD = re.compile(
    rb"POST (\S{1,64}) HTTP/1\.1\r\n"
    rb"((?:[\w!#$%&'*+.^`|~-]{1,64}:[\t\x20-\x7e\x80-\xff]{0,4096}\r\n){1,64})\r\n"
)
"""A head in which nothing is open to two readings; what else there is, uvicorn's parser is to judge."""
LENGTH = re.compile(rb"^content-length: *(\d{1,9}) *\r$", re.IGNORECASE | re.MULTILINE)
UNUSUAL = re.compile(
    rb"^(x-request-id|x-request-timeout|expect|transfer-encoding|upgrade"
    rb"|connection(?!: *keep-alive *\r)|content-type(?!: *application/json *[;\r])) *:",
    re.IGNORECASE | re.MULTILINE,
)
"""Headers with which a request is the app's to answer, whatever the answer is."""
MOST_HELD = 8
"""Requests of one connection that wait for their refusal at once."""


def turnstile(door: Door, metrics: Metrics) -> type[asyncio.Protocol]:
    """The protocol that uvicorn speaks over httptools, with that door before it."""

    class Turnstile(HttpToolsProtocol):
        """One connection."""

        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self._between_requests = True
            self._turned_away: list[tuple[str, Overloaded, RequestContext]] = []

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            """Begin, with replies in one piece."""
            self._writes = JoinedWrites(transport, self.loop)
            super().connection_made(self._writes)

        def data_received(self, data: bytes) -> None:
            """Look at what came, and pass it on unless it is a request to turn away."""
            if self._can_turn_away() and door.is_shut():
                found = _whole_request(data)
                error = door.reason(found[1]) if found else None
                if found and error:
                    self._unset_keepalive_if_required()
                    self._turned_away.append((found[0], error, RequestContext()))
                    door.when_told(self._tell)
                    return
            self._tell()  # answers go out in the order of their requests
            super().data_received(data)

        def on_message_begin(self) -> None:
            """Note that what comes next is the rest of a request."""
            self._between_requests = False
            super().on_message_begin()

        def on_message_complete(self) -> None:
            """Note that what comes next is another request."""
            self._between_requests = True
            super().on_message_complete()

        def eof_received(self) -> None:
            """The client sends no more, and may still read: asyncio closes what has nothing left to send."""
            self._writes.flush()
            super().eof_received()

        def shutdown(self) -> None:
            """Nobody leaves without an answer."""
            self._tell()
            super().shutdown()

        def _can_turn_away(self) -> bool:
            """Whether no other request is under way, and answers are read as they come."""
            idle = self._between_requests and (self.cycle is None or self.cycle.response_complete)
            return idle and not self.flow.write_paused and len(self._turned_away) < MOST_HELD

        def _tell(self) -> None:
            if not self._turned_away:
                return
            told, self._turned_away = self._turned_away, []
            replies = b"".join(self._reply(*each) for each in told)
            self.server_state.total_requests += len(told)
            if not self.transport.is_closing():
                self.transport.write(replies)
                self._writes.flush()
            if not self.transport.is_closing():  # writing finds out that the client has gone
                self._unset_keepalive_if_required()
                self.timeout_keep_alive_task = self.loop.call_later(
                    self.timeout_keep_alive, self.timeout_keep_alive_handler
                )

        def _reply(self, path: str, error: Overloaded, context: RequestContext) -> bytes:
            reply = turned_away(error, context, metrics)
            metrics.requests.labels(path, str(reply.status_code)).observe(
                time.perf_counter() - context.started
            )
            headers = (*self.server_state.default_headers, *reply.raw_headers, *timing_headers(context))
            lines = (b"%b: %b\r\n" % header for header in headers)
            return b"".join((STATUS_LINE[reply.status_code], *lines, b"\r\n", bytes(reply.body)))

    return Turnstile


def _whole_request(data: bytes) -> tuple[str, bytes] | None:
    """The path and the body of a request that is all of the data, and that the door may turn away."""
    head = HEAD.match(data)
    if head is None or (path := head[1].decode("latin-1")) not in PATHS or UNUSUAL.search(head[2]):
        return None
    lengths = LENGTH.findall(head[2])
    if len(lengths) != head[2].lower().count(b"content-length") or len(lengths) != 1:
        return None
    body = data[head.end() :]
    return (path, body) if len(body) == int(lengths[0]) else None

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
from service.metrics import Metrics
from service.request_context import RequestContext

LINE = re.compile(rb"POST (\S+) HTTP/1\.1\r\n")
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
UNUSUAL = re.compile(
    rb"\r\n(x-request-id|x-request-timeout|expect|transfer-encoding|connection(?!: *keep-alive\r)):?",
    re.IGNORECASE,
)
"""Headers with which a request is the app's to answer, whatever the answer is."""
END = b"\r\n\r\n"


def turnstile(door: Door, metrics: Metrics) -> type[asyncio.Protocol]:
    """The protocol that uvicorn speaks over httptools, with that door before it."""

    class Turnstile(HttpToolsProtocol):
        """One connection."""

        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self._between_requests = True
            self._turned_away: list[tuple[str, Overloaded, RequestContext]] = []

        def data_received(self, data: bytes) -> None:
            """Look at what came, and pass it on unless it is a request to turn away."""
            if self._turned_away:
                self._tell()  # answers go out in the order of their requests
            if self._is_idle() and door.is_shut():
                found = _whole_request(data)
                error = door.reason(found[1]) if found else None
                if found and error:
                    self._unset_keepalive_if_required()
                    self._turned_away.append((found[0], error, RequestContext()))
                    door.when_told(self._tell)
                    return
            super().data_received(data)

        def on_message_begin(self) -> None:
            """Note that what comes next is the rest of a request."""
            self._between_requests = False
            super().on_message_begin()

        def on_message_complete(self) -> None:
            """Note that what comes next is another request."""
            self._between_requests = True
            super().on_message_complete()

        def shutdown(self) -> None:
            """Nobody leaves without an answer."""
            self._tell()
            super().shutdown()

        def _is_idle(self) -> bool:
            return self._between_requests and (self.cycle is None or self.cycle.response_complete)

        def _tell(self) -> None:
            told, self._turned_away = self._turned_away, []
            if not told or self.transport.is_closing():
                return
            self.transport.write(b"".join(self._reply(*each) for each in told))
            self.server_state.total_requests += len(told)
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
    line = LINE.match(data)
    end = data.find(END)
    if line is None or end < 0 or (path := line[1].decode("latin-1")) not in PATHS:
        return None
    length = LENGTH.search(data, 0, end + 2)
    if length is None or end + len(END) + int(length[1]) != len(data) or UNUSUAL.search(data, 0, end + 2):
        return None
    return path, data[end + len(END) :]

"""A connection that sends a reply in one piece.

uvicorn writes the head of a reply and its body one after the other, and each write to a socket gives up the
interpreter, which then has to be had back from the encoders' threads; the client gets two packets. Given a
transport, `JoinedWrites` sends what is written to it until the event loop's next turn at once.
"""

import asyncio
from typing import Any

LARGE = 64 * 1024
"""Bytes from which on a write is none too many."""


class JoinedWrites(asyncio.Transport):
    """The transport given, but for when it writes. What is held is sent before it closes."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._transport, self._loop = transport, loop
        self._held: list[bytes | bytearray | memoryview] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send data, no later than in the event loop's next turn."""
        if len(data) >= LARGE:  # joining would copy it
            self.flush()
            self._transport.write(data)
            return
        if not self._held:
            self._loop.call_soon(self.flush)
        self._held.append(data)

    def flush(self) -> None:
        """Send what is held, now."""
        if self._held:
            held, self._held = self._held, []
            self._transport.write(held[0] if len(held) == 1 else b"".join(held))

    def close(self) -> None:
        """Close the connection once all is sent."""
        self.flush()
        self._transport.close()

    def abort(self) -> None:
        """Close the connection now."""
        self._held = []
        self._transport.abort()

    def is_closing(self) -> bool:
        """Whether the connection is closed, or about to be."""
        return self._transport.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What the transport knows of the connection."""
        return self._transport.get_extra_info(name, default)

    def is_reading(self) -> bool:
        """Whether data is read."""
        return self._transport.is_reading()

    def pause_reading(self) -> None:
        """Read nothing until told so."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        self._transport.resume_reading()

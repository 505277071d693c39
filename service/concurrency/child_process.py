"""Child processes: modules of this package that run on their own, at the other end of a socket.

Holds `ChildProcess`, which the service keeps, and `Channel`, either end of the socket. What passes through
is `service.concurrency.messages`.
"""

import os
import select
import socket
import struct
import subprocess
import sys

from service.concurrency.messages import MAX_BYTES

_LENGTH = struct.Struct("<Q")


class Channel:
    """One end of a socket that carries packed messages, each behind its length, whole and in order."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._readable = select.poll()
        self._readable.register(end, select.POLLIN)

    def send(self, message: bytes, seconds: float | None = None) -> None:
        """Send a message. Raises `OSError`: `TimeoutError` if the other end takes it too slowly."""
        self._socket.settimeout(seconds)
        self._socket.sendall(_LENGTH.pack(len(message)))
        self._socket.sendall(message)

    def receive(self, seconds: float | None = None) -> bytearray:
        """Wait for a message. Raises `EOFError` once the other end is closed, and `OSError`.

        That is a `TimeoutError` if nothing comes for `seconds`.
        """
        self._socket.settimeout(seconds)
        length = bytearray(_LENGTH.size)
        self._fill(memoryview(length))
        [size] = _LENGTH.unpack(length)
        if size > MAX_BYTES:
            raise OSError(f"a message of {size:,} bytes is announced; the limit is {MAX_BYTES:,}")
        message = bytearray(size)
        self._fill(memoryview(message))
        return message

    def poll(self, seconds: float) -> bool:
        """Wait until there is something to receive, or the other end is closed; False if neither is so."""
        return bool(self._readable.poll(1000 * seconds))

    def close(self) -> None:
        """Close this end. Idempotent."""
        self._socket.close()

    def _fill(self, buffer: memoryview) -> None:
        with buffer:
            filled = 0
            while filled < len(buffer):
                count = self._socket.recv_into(buffer[filled:])
                if not count:
                    raise EOFError
                filled += count


class ChildProcess:
    """A module that runs in a process of its own, on one core, and ends when its channel is closed."""

    def __init__(self, module: str) -> None:
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                # -P: not from the working directory, which may have a folder named like a package of ours.
                self.process = subprocess.Popen(
                    [sys.executable, "-P", "-m", module, str(theirs.fileno())],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    env={
                        **os.environ,
                        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                        "OMP_NUM_THREADS": "1",
                    },
                    start_new_session=True,  # Ctrl-C is for the parent, which then ends the child
                )
        except BaseException:
            ours.close()
            raise
        self._channel: Channel | None = Channel(ours)

    @property
    def ended(self) -> bool:
        """True once `end` was called."""
        return self._channel is None

    def exchange(self, message: bytes, seconds: float | None = None) -> bytearray:
        """Send a packed message and wait for the reply, `seconds` at most (None: for ever).

        Raises `EOFError` or `OSError` if the child has died, `TimeoutError` if it does not answer.
        """
        if self._channel is None:
            raise EOFError
        self._channel.send(message, seconds)
        del message  # a file's bytes, which the caller may not hold either
        return self._channel.receive(seconds)

    def end(self, seconds: float = 0.0) -> int:
        """Close the channel and return the exit status; kill a child that takes longer than `seconds`.

        For the one thread that may call `exchange`. Idempotent.
        """
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


def parent_channel() -> Channel:
    """Return a child's end of the channel, whose descriptor is its first argument."""
    return Channel(socket.socket(fileno=int(sys.argv[1])))

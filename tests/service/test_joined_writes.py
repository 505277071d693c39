"""What is written to a connection in one turn of the event loop is sent in one piece."""

import asyncio
from collections.abc import Awaitable, Callable

from service.joined_writes import LARGE, JoinedWrites


class Sent(asyncio.Transport):
    """A transport that keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[object] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.told.append(bytes(data))

    def close(self) -> None:
        self.told.append("closed")

    def abort(self) -> None:
        self.told.append("aborted")


def told(work: Callable[[JoinedWrites], Awaitable[None]]) -> list[object]:
    async def run() -> list[object]:
        sent = Sent()
        await work(JoinedWrites(sent, asyncio.get_running_loop()))
        await asyncio.sleep(0)
        return sent.told

    return asyncio.run(run())


def test_head_and_body_are_one_piece_and_the_next_reply_another() -> None:
    async def work(connection: JoinedWrites) -> None:
        connection.write(b"head ")
        connection.write(bytearray(b"body"))
        await asyncio.sleep(0)
        connection.write(memoryview(b"next"))

    assert told(work) == [b"head body", b"next"]


def test_what_is_large_is_neither_held_nor_copied() -> None:
    async def work(connection: JoinedWrites) -> None:
        connection.write(b"head")
        connection.write(bytes(LARGE))
        connection.write(b"tail")

    assert [len(each) for each in told(work)] == [4, LARGE, 4]


def test_what_was_written_is_sent_before_the_connection_closes() -> None:
    async def work(connection: JoinedWrites) -> None:
        connection.write(b"last words")
        connection.close()

    assert told(work) == [b"last words", "closed"]


def test_nothing_is_sent_after_an_abort() -> None:
    async def work(connection: JoinedWrites) -> None:
        connection.write(b"last words")
        connection.abort()

    assert told(work) == ["aborted"]

"""Channels carry whole messages."""

import socket
import threading
from collections.abc import Iterator

import pytest

from service.concurrency import child_process
from service.concurrency.child_process import Channel
from service.concurrency.messages import PREFIX, Failed, Kinds, pack


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Channel, socket.socket]]:
    left, right = socket.socketpair()
    yield Channel(left), Channel(right), right
    left.close()
    right.close()


def test_messages_arrive_whole_and_in_order(ends: tuple[Channel, Channel, socket.socket]) -> None:
    left, right, _ = ends
    sent = [Failed("a", "b" * size) for size in (0, 7, 3_000_000, 1)]
    thread = threading.Thread(target=lambda: [left.send(pack(each)) for each in sent])
    thread.start()
    assert right.poll(10)
    assert [Kinds(Failed).unpack(right.receive()) for _ in sent] == sent
    thread.join()
    assert not right.poll(0)
    left.close()
    assert right.poll(0)
    with pytest.raises(EOFError):
        right.receive()


def test_the_other_end_may_be_too_slow(ends: tuple[Channel, Channel, socket.socket]) -> None:
    left, _, _ = ends
    with pytest.raises(TimeoutError):
        left.receive(0.01)
    with pytest.raises(TimeoutError):
        left.send(bytes(50_000_000), 0.05)


def test_a_message_that_is_too_long_is_not_received(
    ends: tuple[Channel, Channel, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    left, _, raw = ends
    monkeypatch.setattr(child_process, "MAX_BYTES", 1_000)
    raw.sendall(PREFIX.pack(500, 600))
    with pytest.raises(OSError, match="1,116 bytes"):
        left.receive()

"""While a queue is full, requests for it are turned away at the door, and others pass whole."""

import asyncio

import pytest

from connectors.modality import Modality
from service.door import Door
from service.errors import Overloaded


def look(
    body: bytes, *, path: str = "/embed", full: bool = True, headers: tuple[tuple[bytes, bytes], ...] = ()
) -> tuple[str | None, bytes]:
    """The queue a request was turned away from, or None, and the body that the operation would read.

    Of texts there are too many; a point cloud would only be late.
    """
    messages = [
        {"type": "http.request", "body": body[:50], "more_body": True},
        {"type": "http.request", "body": body[50:], "more_body": False},
    ]

    async def receive() -> dict[str, object]:
        return messages.pop(0)

    def refuse(modality: Modality, patient: bool) -> Overloaded | None:
        late = modality == "point_cloud" and not patient
        return Overloaded(modality, 3) if modality in ("text", "image") or late else None

    async def run() -> tuple[str | None, bytes]:
        scope = {"type": "http", "path": path, "method": "POST", "headers": headers}
        refused, rest = await Door(lambda: full, refuse).look(scope, receive)
        if refused is not None:
            return refused.message, b""
        return None, (await rest())["body"] + (await rest())["body"]

    return asyncio.run(run())


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
def test_what_a_full_queue_would_hold_is_turned_away(body: bytes, queue: str) -> None:
    assert look(body)[0] == queue


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
    assert look(body) == (None, body)


def test_nothing_is_looked_at_where_no_queue_is_full_or_nothing_is_embedded() -> None:
    body = b'{"items": [{"text": "a dog"}]}'
    assert look(body, full=False) == (None, body)
    assert look(body, path="/search") == (None, body)


def test_what_sets_its_own_deadline_is_not_turned_away_for_being_late() -> None:
    deadline = ((b"x-request-timeout", b"600"),)
    late = b'{"items": [{"point_cloud": "' + b"A" * 200 + b'"}]}'
    assert look(late)[0] == "point_cloud"
    assert look(late, headers=deadline) == (None, late)
    assert look(b'{"items": [{"text": "a dog"}]}', headers=deadline)[0] == "text"


def test_those_turned_away_are_told_at_once_and_one_that_leaves_keeps_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("service.door.HOLD_SECONDS", 0.2)

    async def run() -> None:
        door = Door(lambda: True, lambda modality, patient: None)
        held = [asyncio.create_task(door.hold()) for _ in range(3)]
        await asyncio.sleep(0)
        held.pop(0).cancel()
        await asyncio.sleep(0.01)
        assert not any(task.done() for task in held)
        done, _ = await asyncio.wait(held, return_when=asyncio.FIRST_COMPLETED)
        assert done == set(held)
        await door.hold()

    asyncio.run(run())


def test_who_sends_no_body_is_not_waited_for_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.door.LOOK_SECONDS", 0.01)

    async def receive() -> dict[str, object]:
        await asyncio.Event().wait()
        raise AssertionError

    async def run() -> None:
        scope = {"type": "http", "path": "/embed", "method": "POST", "headers": ()}
        door = Door(lambda: True, lambda modality, patient: Overloaded(modality, 3))
        assert await door.look(scope, receive) == (None, receive)

    asyncio.run(run())

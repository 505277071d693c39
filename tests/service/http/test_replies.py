import asyncio
import json
import math
import threading
from collections.abc import Iterator

from service.http.replies import WRITTEN_AT_ONCE, JsonReply, list_reply


def test_a_list_is_written_as_it_would_be_in_one_piece() -> None:
    rest = {"model": "tiny", "timing": {"total": 1.5}}
    for count in (0, 1, WRITTEN_AT_ONCE + 1):
        items = [{"index": i, "vector": [0.25, math.inf], "name": 'a "name"'} for i in range(count)]
        reply = asyncio.run(list_reply("items", iter(items), count, rest))
        assert json.loads(reply.body) == json.loads(JsonReply({"items": items, **rest}).body)
        assert reply.headers["content-length"] == str(len(reply.body))


def test_many_vectors_are_written_beside_the_event_loop() -> None:
    def where(count: int) -> bool:
        threads: set[int] = set()

        def items() -> Iterator[int]:
            for i in range(count):
                threads.add(threading.get_ident())
                yield i

        asyncio.run(list_reply("items", items(), count, {"a": 1}))
        return threads == {threading.get_ident()}

    assert where(WRITTEN_AT_ONCE) and not where(WRITTEN_AT_ONCE + 1)

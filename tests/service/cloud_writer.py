"""A client that writes clouds to a service until it is killed, and knows what the service then must hold."""

import random
from typing import Any

import httpx
import pytest
from media_files import cloud
from refreshing import Expected
from server_process import ServerProcess

AT_ONCE = 4


class CloudWriter:
    """Writes clouds, deletes and describes them until the service is gone; knows what was acknowledged."""

    def __init__(self, seed: int) -> None:
        self.there: set[str] = set()
        self.unsure: set[str] = set()
        self.captions: dict[str, str] = {}
        self._random = random.Random(seed)
        self.choose = self._random.choice
        self._next = 0

    def put(self, client: httpx.Client, count: int) -> None:
        """Write clouds that were not there before."""
        numbers = range(self._next, self._next + count)
        self._next += count
        ids = [f"cloud/{number}" for number in numbers]
        self.unsure.update(ids)
        files = [("files", (f"{number}.npy", cloud(number, 40))) for number in numbers]
        listed = "[" + ",".join(f'"{each}"' for each in ids) + "]"
        reply = client.post("/embed", files=files, data={"ids": listed})
        assert reply.status_code == 200 and "error" not in reply.text, reply.text
        self.unsure.difference_update(ids)
        self.there.update(ids)

    def delete(self, client: httpx.Client) -> None:
        """Delete one of those that are there."""
        name = self.choose(sorted(self.there))
        self.unsure.add(name)
        self.captions.pop(name, None)
        assert client.delete(f"/points/{name.replace('/', '%2F')}").status_code == 200
        self.unsure.discard(name)
        self.there.discard(name)

    def describe(self, client: httpx.Client) -> None:
        """Give one of those that are there another caption."""
        name = self.choose(sorted(self.there))
        self.captions.pop(name, None)
        caption = f"caption {self._random.random()}"
        reply = client.patch(f"/points/{name.replace('/', '%2F')}", json={"caption": caption})
        assert reply.status_code == 200, reply.text
        self.captions[name] = caption

    def change(self, client: httpx.Client) -> None:
        """Write some clouds, delete one or describe one."""
        self.choose([self.delete, self.describe, lambda c: self.put(c, AT_ONCE)])(client)

    def reconcile(self, found: set[str]) -> None:
        """Check what is there against what was acknowledged; what was unsure is known now."""
        assert self.there - self.unsure <= found, "an acknowledged point is lost"
        assert found <= self.there | self.unsure, "a deleted point is back"
        self.there, self.unsure = set(found), set()


def read_all(server: ServerProcess) -> tuple[str, dict[str, dict[str, Any]]]:
    """The active version and every point with its vector, as of one version."""
    while True:
        active = server.client.get("/connectors").json()["active"]
        points: dict[str, dict[str, Any]] = {}
        cursor = None
        while True:
            params = {"limit": 1000, "with_vectors": True, **({"cursor": cursor} if cursor else {})}
            page = server.client.get("/points", params=params).json()
            assert not points.keys() & {each["id"] for each in page["points"]}, "a point is there twice"
            points |= {each["id"]: each for each in page["points"]}
            cursor = page["next_cursor"]
            if cursor is None:
                break
        if server.client.get("/connectors").json()["active"] == active:
            return active, points


def check(server: ServerProcess, writer: CloudWriter, expected: Expected) -> str:
    """Everything acknowledged is there, in the space that is served; gives its version."""
    active, points = read_all(server)
    writer.reconcile(set(points))
    for name, caption in writer.captions.items():
        assert points[name].get("caption") == caption
    expected.check({name: point["vector"] for name, point in points.items()}, active)
    number = int(writer.choose(sorted(points)).partition("/")[2])
    files = {"files": ("c.npy", cloud(number, 40))}
    hit = server.client.post("/search", files=files, data={"params": '{"limit": 1}'}).json()["hits"][0]
    assert hit["id"] == f"cloud/{number}" and hit["cosine"] == pytest.approx(1, abs=1e-4)
    return active

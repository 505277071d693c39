"""A data directory of each former release is opened by this one, with all that is in it.

What the service wrote, and what is expected of it, is kept in `tests/fixtures/data-directory-VERSION/`.
"""

import hashlib
import json
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fixtures.kept_directories import unpack
from refreshing import activate
from server_process import ServerProcess

FIXTURES = Path(__file__).parents[1] / "fixtures"
RELEASES = sorted(path.name for path in FIXTURES.glob("data-directory-*"))


@dataclass
class Opened:
    """A server on an unpacked data directory, and what the release that wrote it told of it."""

    server: ServerProcess
    expected: dict[str, Any]

    def points(self, collection: str) -> dict[str, dict[str, Any]]:
        """Every point of a collection, by its id."""
        params = {"collection": collection, "limit": 1000}
        page = self.server.client.get("/points", params=params).json()
        assert page["next_cursor"] is None and page["count"] == len(page["points"])
        return {point["id"]: point for point in page["points"]}

    def check(self) -> None:
        """All points are there as they were, with their media, and the searches find what they found."""
        for name, collection in self.expected["collections"].items():
            points = self.points(name)
            assert points.keys() == collection["points"].keys()
            for id_, written in collection["points"].items():
                told = {key: points[id_][key] for key in written if key != "sha256"}
                media = self.server.client.get(points[id_]["media_url"]).content
                assert told | {"sha256": hashlib.sha256(media).hexdigest()} == written, id_
        for search in self.expected["searches"]:
            reply = self.server.client.post("/search", json=search["body"])
            assert reply.json()["hits"][0]["id"] == search["first"], search["body"]


@pytest.fixture(params=RELEASES)
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opened]:
    expected = json.loads((FIXTURES / request.param / "expected.json").read_text())
    unpack(FIXTURES / request.param, expected["elsewhere"], tmp_path / "data")
    server = ServerProcess(expected["bundle"], tmp_path / "data")
    try:
        server.wait_ready()
        yield Opened(server, expected)
        assert server.stop() == 0
    finally:
        if server.process.poll() is None:
            server.stop(signal.SIGKILL)


def test_what_a_former_release_wrote_is_opened_and_its_connectors_are_rolled_back(opened: Opened) -> None:
    api, expected = opened.server.client, opened.expected
    active, former = expected["active"], expected["former"]
    listed = api.get("/connectors").json()
    assert (listed["active"], listed["former"]) == (active, former)
    assert api.get("/readyz").json()["refresh"] is None, "nothing is projected anew to open it"

    names = {each["name"] for each in api.get("/collections").json()["collections"]}
    assert names == expected["collections"].keys()
    for name, collection in expected["collections"].items():
        found = api.get(f"/collections/{name}").json()
        assert found["count"] == len(collection["points"])
        assert found["connector"] == active
        assert found["fields"] == collection["fields"]
    jobs = api.get("/jobs").json()["jobs"]
    assert [{key: job[key] for key in expected["jobs"][0]} for job in jobs] == expected["jobs"]
    opened.check()

    job = activate(opened.server, former)
    assert job["state"] == "done", job
    added = sum(len(ids) for ids in expected["added"].values())
    assert job["result"]["projected"] + job["result"]["unchanged"] == added + expected["changed"]
    assert job["result"]["projected"] > 0
    assert job["result"]["removed"] == sum(len(ids) for ids in expected["deleted"].values())
    listed = api.get("/connectors").json()
    assert (listed["active"], listed["former"]) == (former, active)
    opened.check()

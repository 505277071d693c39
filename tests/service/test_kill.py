"""A service killed while it optimises, or makes and deletes collections, keeps what it acknowledged.

`test_refresh_kill.py` and `ingest/test_kill.py` kill it in refreshes, ingest jobs and the deletion of points.
"""

import random
import signal
import time
from pathlib import Path

import httpx
import pytest
from cloud_writer import CloudWriter, check
from killing import killed_under
from refreshing import Expected
from server_process import ServerProcess
from waiting import at_a_random_moment, until

FIRST = 200
NAMES = ("red", "green", "blue")
TEXTS = 6


class Collections:
    """Makes and deletes collections until the service is gone; knows which writes were acknowledged.

    `there` has the points of each collection that was written, `unsure` those whose call was cut off.
    """

    def __init__(self, seed: int) -> None:
        self.there: dict[str, set[str]] = {name: set() for name in NAMES}
        self.unsure: dict[str, set[str]] = {name: set() for name in NAMES}
        self._choose = random.Random(seed)
        self._serial = 0

    def write(self, client: httpx.Client, name: str) -> None:
        """Write texts that were not there before; the first make the collection."""
        ids = [f"{name}/{self._serial + number}" for number in range(TEXTS)]
        self._serial += TEXTS
        self.unsure[name].update(ids)
        items = [{"text": f"text {each}", "id": each} for each in ids]
        reply = client.post("/embed", json={"items": items, "collection": name})
        assert reply.status_code == 200 and "error" not in reply.text, reply.text
        self.unsure[name].difference_update(ids)
        self.there[name].update(ids)

    def delete(self, client: httpx.Client, name: str) -> None:
        """Delete the collection, if it is there."""
        gone = set(self.there[name])
        self.unsure[name] |= gone
        reply = client.delete(f"/collections/{name}")
        assert reply.status_code == (200 if gone else 404), reply.text
        self.unsure[name] -= gone
        self.there[name] -= gone

    def change(self, client: httpx.Client) -> None:
        """Write to one of the collections, or delete it."""
        self._choose.choice([self.write, self.write, self.delete])(client, self._choose.choice(NAMES))

    def reconcile(self, server: ServerProcess) -> None:
        """Check what each collection holds against what was acknowledged; what was unsure is known now."""
        listed = {each["name"] for each in server.client.get("/collections").json()["collections"]}
        for name in NAMES:
            params = {"collection": name, "limit": 1000}
            page = server.client.get("/points", params=params).json() if name in listed else {"points": []}
            ids = [point["id"] for point in page["points"]]
            found, unsure = set(ids), self.unsure[name]
            assert len(ids) == len(found), "a point is there twice"
            assert self.there[name] - unsure <= found, "an acknowledged point is lost"
            assert found <= self.there[name] | unsure, "a deleted point is back"
            cut_off = self.there[name] & unsure
            assert found & cut_off in (set(), cut_off), "a collection was deleted in part"
            self.there[name], self.unsure[name] = found, set()
            if not found and name in listed:  # made, and its first write not yet done
                assert server.client.delete(f"/collections/{name}").status_code == 200


def optimising(server: ServerProcess) -> bool:
    """Whether there is a copy of the one collection's shard beside it."""
    return len(list((server.data_dir / "index/shards").glob("*"))) > 1


def wait(wanted: bool, server: ServerProcess) -> None:
    """Wait until the service optimises, or until it does not."""
    until(lambda: optimising(server) is wanted, every=0.002, tell=server.log)


def kill_while_optimising(bundle: Path, folder: Path, rounds: int) -> None:
    """The first optimisation is watched, to learn how long one takes; the others are killed at some point."""
    choose, expected, writer = random.Random(21), Expected(bundle), CloudWriter(seed=22)
    server = ServerProcess(bundle, folder / "data", TINY_OPTIMISE=1)
    try:
        server.wait_ready()
        writer.put(server.client, FIRST)
        seconds = 0.0
        for number in range(rounds + 1):
            with killed_under(server, writer.change):
                wait(True, server)
                if number == 0:
                    began = time.monotonic()
                    wait(False, server)
                    seconds = time.monotonic() - began
                at_a_random_moment(choose, 0, seconds)
            check(server, writer, expected)

        def is_indexed() -> bool:
            stats: dict[str, int] = server.client.get("/collections/default").json()
            return stats["indexed"] >= FIRST // 2

        until(is_indexed, every=0.05, tell=server.log)
        check(server, writer, expected)
        wait(False, server)
        assert server.stop() == 0
        assert len(list((server.data_dir / "index/shards").iterdir())) == 1, "a half-made copy is left"
    finally:
        server.stop(signal.SIGKILL)


def kill_while_deleting(bundle: Path, folder: Path, rounds: int) -> None:
    choose, collections = random.Random(31), Collections(seed=32)
    server = ServerProcess(bundle, folder / "data")
    try:
        server.wait_ready()
        for _ in range(rounds):
            with killed_under(server, collections.change):
                at_a_random_moment(choose, 0.1, 2.0)
            collections.reconcile(server)
        kept = {name for name in NAMES if collections.there[name]}
        assert len(list((server.data_dir / "index/shards").iterdir())) == len(kept), "a shard is left"
        assert server.stop() == 0
    finally:
        server.stop(signal.SIGKILL)


@pytest.mark.timeout(1200)
def test_a_service_killed_while_it_optimises_loses_nothing(tiny_bundle: Path, tmp_path: Path) -> None:
    kill_while_optimising(tiny_bundle, tmp_path, 2)


@pytest.mark.timeout(1200)
def test_a_service_killed_while_it_deletes_collections_loses_nothing(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    kill_while_deleting(tiny_bundle, tmp_path, 3)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_service_that_is_killed_many_times_loses_nothing(tiny_bundle: Path, tmp_path: Path) -> None:
    for kill_often in (kill_while_optimising, kill_while_deleting):
        folder = tmp_path / kill_often.__name__
        folder.mkdir()
        kill_often(tiny_bundle, folder, 25)

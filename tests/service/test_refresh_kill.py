"""A service killed while it switches connectors, at any moment and with writes going on, loses nothing."""

import random
import signal
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from media_files import cloud
from refreshing import Expected, ended, publish
from server_process import PATIENCE, ServerProcess
from tiny_encoders import write_connector

from connectors.bundle import load_bundle
from service.connector_store import ConnectorStore
from service.index.edge_engine import EdgeEngine
from service.index.payload import UNIFIED

FIRST, AT_ONCE = 200, 4
SETTINGS = {"ISTHMUS_REFRESH_SHARE": 0.3}


class Writer:
    """Writes clouds, deletes and describes them until the service is gone; knows what was acknowledged."""

    def __init__(self, seed: int) -> None:
        self.there: set[str] = set()
        self.unsure: set[str] = set()
        self.captions: dict[str, str] = {}
        self._choose = random.Random(seed)
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
        name = self._choose.choice(sorted(self.there))
        self.unsure.add(name)
        self.captions.pop(name, None)
        assert client.delete(f"/points/{name.replace('/', '%2F')}").status_code == 200
        self.unsure.discard(name)
        self.there.discard(name)

    def describe(self, client: httpx.Client) -> None:
        """Give one of those that are there another caption."""
        name = self._choose.choice(sorted(self.there))
        self.captions.pop(name, None)
        caption = f"caption {self._choose.random()}"
        reply = client.patch(f"/points/{name.replace('/', '%2F')}", json={"caption": caption})
        assert reply.status_code == 200, reply.text
        self.captions[name] = caption

    def write_until_killed(self, url: str, failures: list[BaseException]) -> None:
        try:
            with httpx.Client(base_url=url, timeout=240) as client:
                while True:
                    self._choose.choice([self.delete, self.describe, lambda c: self.put(c, AT_ONCE)])(client)
        except httpx.TransportError:
            return  # killed
        except BaseException as error:
            failures.append(error)

    def settle(self, found: set[str]) -> None:
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


def check(server: ServerProcess, writer: Writer, expected: Expected) -> str:
    """Everything acknowledged is there, in the space that is served; gives its version."""
    active, points = read_all(server)
    writer.settle(set(points))
    for name, caption in writer.captions.items():
        assert points[name].get("caption") == caption
    expected.check({name: point["vector"] for name, point in points.items()}, active)
    number = int(random.choice(sorted(points)).partition("/")[2])
    files = {"files": ("c.npy", cloud(number, 40))}
    hit = server.client.post("/search", files=files, data={"params": '{"limit": 1}'}).json()["hits"][0]
    assert hit["id"] == f"cloud/{number}" and hit["cosine"] == pytest.approx(1, abs=1e-4)
    return active


def check_disk(server: ServerProcess, bundle: Path) -> None:
    """Each stored unified vector is its own native one, projected by the connector that is read."""
    space = load_bundle(bundle)
    engine = EdgeEngine(server.data_dir / "index")
    try:
        read = engine.current()["default"]
        assert len(engine.generations("default")) <= 2
        release = ConnectorStore(server.data_dir / "connectors", bundle).find(read.layout.connector)
        offset = None
        while True:
            page, offset = engine.scroll(read.name, None, 256, offset, with_vectors=True)
            native = torch.from_numpy(np.stack([each.vectors["native.ulip"] for each in page]))
            unified = release.load(space).project("point_cloud", native).numpy()
            np.testing.assert_allclose(np.stack([each.vectors[UNIFIED] for each in page]), unified, atol=1e-5)
            assert {each.payload["connector"] for each in page} == {read.layout.connector}
            if offset is None:
                return
    finally:
        engine.close()


def wait_for_the_switch(server: ServerProcess) -> None:
    deadline = time.monotonic() + PATIENCE
    while server.client.get("/readyz").json()["refresh"] is not None:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def kill_rounds(bundle: Path, folder: Path, rounds: int) -> None:
    choose = random.Random(11)
    expected, writer = Expected(bundle), Writer(seed=12)
    server = ServerProcess(bundle, folder / "data", **SETTINGS)
    try:
        server.wait_ready()
        versions = [expected.version]
        for seed in (51, 52):
            directory = write_connector(folder / str(seed), "ulip", seed=seed)
            versions.append(publish(server, directory))
            expected.publish(versions[-1], directory)
        writer.put(server.client, FIRST)
        switched = set()
        for _ in range(rounds):
            active = server.client.get("/connectors").json()["active"]
            if server.client.get("/readyz").json()["refresh"] is None:
                target = choose.choice([each for each in versions if each != active])
                assert server.client.post(f"/connectors/{target}/activate").status_code == 202
            failures: list[BaseException] = []
            thread = threading.Thread(target=writer.write_until_killed, args=(server.url, failures))
            thread.start()
            if choose.random() < 0.4:  # not before the switch, for once
                wait_for_the_switch(server)
            time.sleep(choose.uniform(0.0, 2.0))
            server.stop(signal.SIGKILL)
            thread.join()
            assert not failures, failures
            server.start()
            server.wait_ready()
            switched.add(check(server, writer, expected))
        for job in server.client.get("/jobs").json()["jobs"]:
            assert ended(server, job["id"])["state"] == "done"
        check(server, writer, expected)
        assert rounds < 10 or len(switched) > 1
        assert server.stop() == 0
        check_disk(server, bundle)
    finally:
        server.stop(signal.SIGKILL)


def test_a_refresh_that_is_killed_loses_nothing_and_goes_on(tiny_bundle: Path, tmp_path: Path) -> None:
    kill_rounds(tiny_bundle, tmp_path, 2)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_refresh_that_is_killed_many_times_loses_nothing(tiny_bundle: Path, tmp_path: Path) -> None:
    kill_rounds(tiny_bundle, tmp_path, 30)

"""A service killed while it switches connectors, at any moment and with writes going on, loses nothing."""

import random
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from cloud_writer import CloudWriter, check
from killing import killed_under
from refreshing import Expected, ended, publish
from server_process import ServerProcess
from tiny_encoders import write_connector
from waiting import at_a_random_moment, until

from connectors.bundle import load_bundle
from service.index.edge.edge_backend import EdgeBackend
from service.index.payload import UNIFIED
from service.releases.store import ReleaseStore

FIRST = 200
SETTINGS = {"ISTHMUS_REFRESH_SHARE": 0.3}


def check_disk(server: ServerProcess, bundle: Path) -> None:
    """Each stored unified vector is its own native one, projected by the connector that is read."""
    space = load_bundle(bundle)
    engine = EdgeBackend(server.data_dir / "index")
    try:
        read = engine.current()["default"]
        assert len(engine.generations("default")) <= 2
        release = ReleaseStore(server.data_dir / "connectors", bundle).find(read.layout.connector)
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
    until(lambda: server.client.get("/readyz").json()["refresh"] is None, every=0.01)


def kill_rounds(bundle: Path, folder: Path, rounds: int) -> None:
    choose = random.Random(11)
    expected, writer = Expected(bundle), CloudWriter(seed=12)
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
            with killed_under(server, writer.change):
                if choose.random() < 0.4:  # not before the switch, for once
                    wait_for_the_switch(server)
                at_a_random_moment(choose, 0.0, 2.0)
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

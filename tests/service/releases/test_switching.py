"""Connectors are published and switched in a running service, and nothing that is asked of it fails."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from media_files import cloud
from refreshing import Expected, activate, ended, publish, put_clouds, upload
from server_process import ROOT, ServerProcess
from tiny_encoders import DIMS, write_bundle, write_connector
from vector_tolerance import assert_same_vectors, assert_same_vectors_by_id
from waiting import PATIENCE

from connectors.calibration import Calibration, PairCurve

FIRST_POINTS = 160


@pytest.fixture(scope="module")
def server(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server of this module's own: its connectors are switched."""
    server = ServerProcess(tiny_bundle, tmp_path_factory.mktemp("refresh") / "data")
    try:
        server.wait_ready()
        put_clouds(server, range(FIRST_POINTS))
        yield server
    finally:
        assert server.stop() == 0


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """A connector for the clouds, other than the bundle's."""
    return write_connector(tmp_path / "other", "ulip", seed=77)


def vectors_of(server: ServerProcess, collection: str = "default") -> dict[str, list[float]]:
    """The unified vector of every point, each there once."""
    params: dict[str, Any] = {"limit": 1000, "with_vectors": True, "collection": collection}
    reply = server.client.get("/points", params=params).json()
    vectors = {point["id"]: point["vector"] for point in reply["points"]}
    assert reply["next_cursor"] is None and len(vectors) == reply["count"] == len(reply["points"])
    return vectors


def active(server: ServerProcess) -> str:
    return server.client.get("/connectors").json()["active"]


def test_a_connector_is_published_switched_to_and_back(
    server: ServerProcess, tiny_bundle: Path, other: Path
) -> None:
    expected = Expected(tiny_bundle)
    text = server.client.post("/embed", json={"items": [{"text": "a text", "id": "text"}]})
    assert text.is_success
    before = vectors_of(server)
    first = active(server)
    second = publish(server, other)
    assert active(server) == first and vectors_of(server) == before
    job = activate(server, second)
    assert job["state"] == "done", job
    assert job["result"] | {"seconds": 0} == {
        "version": second,
        "former": first,
        "points": FIRST_POINTS + 1,
        "projected": FIRST_POINTS,
        "unchanged": 1,
        "removed": 0,
        "seconds": 0,
    }
    listed = server.client.get("/connectors").json()
    assert (listed["active"], listed["former"]) == (second, first)
    assert {each["version"] for each in listed["available"]} == {first, second}
    after = vectors_of(server)
    assert_same_vectors(after["text"], before["text"])
    expected.publish(second, other)
    expected.check(after, second)
    hit = server.client.post("/search", files={"files": ("c.npy", cloud(7, 40))}).json()["hits"][0]
    assert hit["id"] == "cloud/7" and hit["cosine"] == pytest.approx(1, abs=1e-5)
    by_id = server.client.post("/search", json={"query": [{"id": "cloud/7"}]}).json()["hits"][0]
    assert by_id["cosine"] == pytest.approx(1, abs=1e-5)
    assert f'isthmus_connector_info{{version="{second}"}} 1.0' in server.client.get("/metrics").text
    assert 'isthmus_jobs{kind="refresh",state="done"}' in server.client.get("/metrics").text

    put_clouds(server, range(900, 903))
    assert server.client.delete("/points/cloud%2F900").is_success
    back = activate(server, first)
    assert (back["result"]["projected"], back["result"]["unchanged"]) == (2, 0)
    rest = {name: vector for name, vector in vectors_of(server).items() if name in before}
    for name, vector in rest.items():
        assert_same_vectors(vector, before[name], name)
    expected.check(vectors_of(server), first)
    again = activate(server, first)
    assert (again["state"], again["result"]["points"]) == ("done", 0)
    for name in ("text", "cloud%2F901", "cloud%2F902"):
        assert server.client.delete(f"/points/{name}").is_success


def test_searches_and_writes_never_fail_and_never_mix_spaces(server: ServerProcess, tmp_path: Path) -> None:
    """Points back and forth between connectors, while others search for a stored cloud by its bytes."""
    versions = [active(server)]
    for seed in (301, 302):
        versions.append(publish(server, write_connector(tmp_path / str(seed), "ulip", seed=seed)))
    stop = threading.Event()
    problems: list[str] = []
    asked = [0]

    def search() -> None:
        with httpx.Client(base_url=server.url, timeout=120) as client:
            number = 0
            while not stop.is_set():
                number = (number + 1) % FIRST_POINTS
                form = {"params": json.dumps({"limit": 1, "target_modalities": ["point_cloud"]})}
                files = {"files": ("c.npy", cloud(number, 40))}
                reply = client.post("/search", files=files, data=form)
                asked[0] += 1
                if reply.status_code != 200:
                    problems.append(reply.text)
                    continue
                hit = reply.json()["hits"][0]
                # In any one space a cloud is nearest itself, at a cosine of 1; across two it is not.
                if hit["id"] != f"cloud/{number}" or abs(hit["cosine"] - 1) > 1e-4:
                    problems.append(f"{number} found {hit['id']} at {hit['cosine']}")

    def write() -> None:
        with httpx.Client(base_url=server.url, timeout=120) as client:
            number = 10_000
            while not stop.is_set():
                number += 1
                body = {"items": [{"text": f"text {number}", "id": f"t/{number}"}], "collection": "texts"}
                for reply in (
                    client.post("/embed", json=body),
                    client.patch(f"/points/t%2F{number}?collection=texts", json={"caption": "changed"}),
                    client.delete(f"/points/t%2F{number}?collection=texts"),
                ):
                    if reply.status_code != 200:
                        problems.append(reply.text)

    threads = [threading.Thread(target=each) for each in (search, search, write)]
    for thread in threads:
        thread.start()
    try:
        for version in (*versions[1:], versions[0], versions[2], versions[0]):
            assert activate(server, version)["state"] == "done"
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not problems, problems[:3]
    assert asked[0] > 10


def test_what_does_not_fit_is_refused_with_the_reason(server: ServerProcess, tmp_path: Path) -> None:
    first = active(server)
    foreign = {"ulip": f"sha256:{'0' * 64}"}
    reply = upload(server, write_connector(tmp_path / "foreign", "ulip", seed=5, encoders=foreign))
    version = reply.json()["version"]
    reply = server.client.post(f"/connectors/{version}/activate")
    error = reply.json()["error"]
    assert (reply.status_code, error["code"]) == (409, "fingerprint_mismatch")
    assert "was trained on the ulip encoder" in error["message"]

    unknown = server.client.post("/connectors/exmcr-000000000000/activate")
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "not_found")
    assert server.client.post("/connectors/..%2Fx/activate").status_code == 404

    damaged = write_connector(tmp_path / "damaged", "ulip", seed=6)
    weights = (damaged / "connector.safetensors").read_bytes()
    (damaged / "connector.safetensors").write_bytes(weights[:-1] + b"\x00")
    reply = upload(server, damaged)
    assert (reply.status_code, reply.json()["error"]["code"]) == (422, "integrity")
    huge = write_connector(tmp_path / "huge", "ulip", seed=6)
    manifest = json.loads((huge / "manifest.json").read_text())
    manifest["projectors"]["head"]["dim_in"] = 10**12
    (huge / "manifest.json").write_text(json.dumps(manifest))
    reply = upload(server, huge)
    assert (reply.status_code, reply.json()["error"]["code"]) == (422, "bad_checkpoint")
    for change in ({"method": "../../x"}, {"heads": 3}, {"format": "other"}):
        (huge / "manifest.json").write_text(json.dumps({**manifest, **change}))
        assert upload(server, huge).status_code in (400, 422)
    (huge / "manifest.json").write_text("{")
    assert upload(server, huge).status_code == 400
    empty = server.client.post("/connectors", files=[("files", ("x.bin", b"x"))])
    assert (empty.status_code, empty.json()["error"]["param"]) == (422, "files")
    assert active(server) == first


def test_calibration_follows_the_switch(server: ServerProcess, tmp_path: Path) -> None:
    first = active(server)
    directory = write_connector(tmp_path / "calibrated", "ulip", seed=8)
    curves = {"point_cloud->point_cloud": PairCurve(slope=2.0, bias=-1.0)}
    (directory / "calibration.json").write_text(Calibration(pairs=curves).model_dump_json())
    version = publish(server, directory)
    release = next(
        each for each in server.client.get("/connectors").json()["available"] if each["version"] == version
    )
    assert release["calibrated"] and not release["active"]
    query = {"query": [{"id": "cloud/7"}], "limit": 1}

    def score() -> float:
        return server.client.post("/search", json=query).json()["hits"][0]["score"]

    before = score()
    activate(server, version)
    assert score() == pytest.approx(1 / (1 + np.exp(-1.0)), abs=1e-4) != before
    activate(server, first)
    assert score() == pytest.approx(before)


@pytest.fixture
def slow_server(tiny_bundle: Path, tmp_path: Path) -> Iterator[ServerProcess]:
    """A server that takes its time to refresh, with some clouds in it."""
    server = ServerProcess(tiny_bundle, tmp_path / "slow", ISTHMUS_REFRESH_SHARE=0.05)
    try:
        server.wait_ready()
        put_clouds(server, range(FIRST_POINTS))
        yield server
    finally:
        server.stop(signal.SIGKILL)


def test_a_refresh_is_cancelled_and_the_old_space_is_served(slow_server: ServerProcess, other: Path) -> None:
    server = slow_server
    before = vectors_of(server)
    first, second = active(server), publish(server, other)
    job = server.client.post(f"/connectors/{second}/activate").json()
    assert server.client.post(f"/connectors/{second}/activate").json()["id"] == job["id"]
    assert server.client.get("/readyz").json()["refresh"]["to"] == second
    in_the_way = server.client.post(f"/connectors/{first}/activate")
    assert (in_the_way.status_code, in_the_way.json()["error"]["code"]) == (409, "job_conflict")
    assert server.client.post(f"/jobs/{job['id']}/cancel").is_success
    assert ended(server, job["id"])["state"] == "cancelled"
    assert active(server) == first and vectors_of(server) == before


def test_a_refresh_rests_over_a_kill_and_goes_on_when_it_is_resumed(
    slow_server: ServerProcess, tiny_bundle: Path, other: Path
) -> None:
    server = slow_server
    before = vectors_of(server)
    first, second = active(server), publish(server, other)
    job = server.client.post(f"/connectors/{second}/activate").json()
    server.client.post(f"/jobs/{job['id']}/pause")
    server.stop(signal.SIGKILL)
    server.start()
    server.wait_ready()
    assert active(server) == first
    assert_same_vectors_by_id(vectors_of(server), before)
    assert server.client.get("/readyz").json()["refresh"]["to"] == second
    server.client.post(f"/jobs/{job['id']}/resume")
    assert ended(server, job["id"])["state"] == "done"
    assert active(server) == second
    server.stop(signal.SIGKILL)
    server.start()
    server.wait_ready()
    assert active(server) == second and server.client.get("/readyz").json()["refresh"] is None
    expected = Expected(tiny_bundle)
    expected.publish(second, other)
    expected.check(vectors_of(server), second)


def test_a_bundle_with_new_connectors_refreshes_what_the_old_one_wrote(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    server = ServerProcess(bundle, tmp_path / "data", ISTHMUS_REFRESH_SHARE=0.05)
    try:
        server.wait_ready()
        put_clouds(server, range(FIRST_POINTS))
        first = active(server)
        assert server.stop() == 0
        write_bundle(bundle, seed=1)
        server.start()
        server.wait_ready()
        report = server.client.get("/readyz").json()
        if report["refresh"] is not None:
            assert report["connector"] == first, "the old space is served until all is refreshed"
        hit = server.client.post("/search", files={"files": ("c.npy", cloud(3, 40))}).json()["hits"][0]
        assert hit["id"] == "cloud/3" and hit["cosine"] == pytest.approx(1, abs=1e-4)
        [job] = server.client.get("/jobs", params={"kind": "refresh"}).json()["jobs"]
        assert ended(server, job["id"])["state"] == "done"
        expected = Expected(bundle)
        assert active(server) == expected.version != first
        expected.check(vectors_of(server), expected.version)
        assert activate(server, first)["state"] == "done", "the old release was kept"
    finally:
        server.stop(signal.SIGKILL)


def test_native_vectors_of_other_encoders_stop_the_start_with_the_reason(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    server = ServerProcess(bundle, tmp_path / "data")
    try:
        server.wait_ready()
        put_clouds(server, range(2))
        assert server.stop() == 0
        served = next((tmp_path / "data/connectors/releases").glob("*/served.json"))
        fingerprints = json.loads(served.read_text())
        assert set(fingerprints) == set(DIMS)
        served.write_text(json.dumps({**fingerprints, "ulip": f"sha256:{'1' * 64}"}))
        server.start()
        assert server.process.wait(PATIENCE) == 1
        assert "the stored ulip vectors were made by the encoder sha256:1111" in server.log()
    finally:
        server.stop(signal.SIGKILL)


def isthmus(*arguments: object) -> str:
    """What a command of `isthmus` says on its output."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests/service")])
    done = subprocess.run(
        [sys.executable, "-m", "tiny_encoders", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": path},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_command_line_publishes_activates_and_rolls_back(server: ServerProcess, tmp_path: Path) -> None:
    first = active(server)
    directory = write_connector(tmp_path / "mine", "ulip", seed=41)
    said = isthmus("connectors", "publish", directory, "--activate", "--url", server.url)
    second = active(server)
    assert f"published {second}" in said and f"{second} is active: {FIRST_POINTS} points projected" in said
    listed = isthmus("connectors", "list", "--url", server.url)
    assert [line.split()[1] for line in listed.splitlines() if line.startswith(first)] == ["former"]
    assert f"{first} is active: 0 points projected" in isthmus("connectors", "rollback", "--url", server.url)
    assert active(server) == first

"""A service that is killed while it ingests or deletes keeps every item once, and no file without a point."""

import json
import random
import signal
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from media_files import jpeg
from server_process import ServerProcess
from waiting import PATIENCE, at_a_random_moment, until

TEXTS, PICTURES = 120, 12


def write_items(root: Path) -> None:
    root.mkdir()
    for number in range(TEXTS):
        (root / f"{number:03}.txt").write_text(f"text number {number}")
    for number in range(PICTURES):
        (root / f"{number:03}.jpg").write_bytes(jpeg(number))
    (root / "050-bad.png").write_bytes(b"no picture")


def ingest_with_kills(bundle: Path, folder: Path, rounds: int, seed: int) -> None:
    """Ingest a folder, killing the service `rounds` times; then delete half of it, killing it as often."""
    write_items(folder / "root")
    settings = {"ISTHMUS_INGEST_ROOTS": folder / "root", "TINY_ROW_SECONDS": 0.01, "ISTHMUS_CACHE_ITEMS": 0}
    server = ServerProcess(bundle, folder / "data", **settings)
    try:
        ingest_then_delete(server, rounds, random.Random(seed))
    finally:
        if server.process.poll() is None:
            server.stop(signal.SIGKILL)


def ingest_then_delete(server: ServerProcess, rounds: int, choose: random.Random) -> None:
    server.wait_ready()
    body = {"folder": ".", "collection": "killed"}
    key = {"idempotency-key": "killed"}
    job = server.client.post("/jobs/ingest", json=body, headers=key).json()
    acknowledged: set[str] = set()
    for _ in range(rounds):
        wait_for_the_beginning(server, job["id"])
        at_a_random_moment(choose, 0.05, 0.4)  # and if that can be helped not at its end
        acknowledged |= ids_in(server)
        restart(server)
        assert acknowledged <= ids_in(server), "what was there is there after the kill"
        again = server.client.post("/jobs/ingest", json=body, headers=key).json()
        assert again["id"] == job["id"]
    job = wait_ended(server, job["id"])
    total = TEXTS + PICTURES
    assert job["progress"]["done"] == job["progress"]["total"] == total + 1
    assert job["error_count"] == job["result"]["failed"] == 1
    assert job["result"]["stored"] + job["result"]["unchanged"] == total
    assert len(ids_in(server)) == count(server) == total
    wait_until_files_are(server, total)
    delete_with_kills(server, rounds, choose)
    assert server.stop() == 0


def delete_with_kills(server: ServerProcess, rounds: int, choose: random.Random) -> None:
    """Delete the pictures one by one, then the texts by filter, killing the service in the midst of it."""
    for _ in range(rounds):
        before, gone = ids_in(server, "image"), list[str]()
        deleting = threading.Thread(target=delete_one_by_one, args=(server.url, sorted(before), gone))
        kill_during(deleting, server, choose, latest=0.3)
        after = ids_in(server, "image")
        assert not after & set(gone)
        assert len(before - after) <= len(gone) + 1, "only what was asked for is gone"
        assert count(server) == TEXTS + len(after)
        wait_until_files_are(server, TEXTS + len(after))
    for _ in range(rounds):
        deleting = threading.Thread(target=delete_texts, args=(server.url,))
        kill_during(deleting, server, choose, latest=0.2)
        assert ids_in(server, "image") == after
        wait_until_files_are(server, count(server))
    delete_texts(server.url)
    assert ids_in(server) == after
    wait_until_files_are(server, len(after))


def kill_during(
    requests: threading.Thread, server: ServerProcess, choose: random.Random, latest: float
) -> None:
    """Kill the service at most so long after the requests began, and bring it back."""
    requests.start()
    at_a_random_moment(choose, 0.0, latest)
    server.stop(signal.SIGKILL)
    requests.join()
    server.start()
    server.wait_ready()


def delete_one_by_one(url: str, ids: list[str], gone: list[str]) -> None:
    with suppress(httpx.TransportError):
        for point_id in ids:
            params = {"collection": "killed"}
            assert httpx.delete(f"{url}/points/{point_id}", params=params, timeout=PATIENCE).is_success
            gone.append(point_id)


def delete_texts(url: str) -> None:
    where = {"must": [{"key": "modality", "match": {"value": "text"}}]}
    params = {"collection": "killed", "filter": json.dumps(where)}
    with suppress(httpx.TransportError):
        assert httpx.delete(f"{url}/points", params=params, timeout=PATIENCE).is_success


def wait_for_the_beginning(server: ServerProcess, job_id: str) -> None:
    until(lambda: server.client.get(f"/jobs/{job_id}").json()["state"] != "queued")


def restart(server: ServerProcess) -> None:
    server.stop(signal.SIGKILL)
    server.start()
    server.wait_ready()


def ids_in(server: ServerProcess, modality: str | None = None) -> set[str]:
    params: dict[str, Any] = {"collection": "killed", "limit": 1000}
    params |= {} if modality is None else {"modality": modality}
    points = server.client.get("/points", params=params).json().get("points", [])  # not made yet: none
    ids = [point["id"] for point in points]
    assert len(ids) == len(set(ids))
    return set(ids)


def count(server: ServerProcess) -> int:
    reply: httpx.Response = server.client.get("/points", params={"collection": "killed", "limit": 1})
    number: int = reply.json()["count"]
    return number


def wait_ended(server: ServerProcess, job_id: str) -> dict[str, Any]:
    def job() -> dict[str, Any]:
        found: dict[str, Any] = server.client.get(f"/jobs/{job_id}").json()
        return found

    until(lambda: job()["state"] not in ("queued", "running"), every=0.05, tell=job)
    assert job()["state"] == "done", job()
    return job()


def wait_until_files_are(server: ServerProcess, number: int) -> None:
    """One file a point: those that a kill left without one are collected after the next start."""

    def files() -> int:
        return len(list((server.data_dir / "media/files").rglob("?" * 64)))

    until(lambda: files() == number, every=0.05, tell=files)


@pytest.mark.timeout(1200)
def test_an_ingest_and_a_deletion_survive_kills(tiny_bundle: Path, tmp_path: Path) -> None:
    ingest_with_kills(tiny_bundle, tmp_path, rounds=1, seed=0)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_an_ingest_and_a_deletion_survive_many_kills(tiny_bundle: Path, tmp_path: Path, seed: int) -> None:
    ingest_with_kills(tiny_bundle, tmp_path, rounds=8, seed=seed)

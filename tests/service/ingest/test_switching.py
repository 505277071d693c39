"""An ingest goes on while connectors are switched, and a backup brings the switched ones along."""

import json
from pathlib import Path

from media_files import cloud
from refreshing import Expected, ended, publish
from server_process import StartServer
from tiny_encoders import write_connector
from typer.testing import CliRunner
from vector_tolerance import assert_same_vectors_by_id
from waiting import until

from service.commands.store import app

CLOUDS = 90


def test_points_ingested_while_connectors_switch_are_in_one_space(
    start_server: StartServer, tiny_bundle: Path, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    for number in range(CLOUDS):
        (root / f"{number}.npy").write_bytes(cloud(number, 40))
    lines = [{"path": f"{number}.npy", "id": f"cloud/{number}"} for number in range(CLOUDS)]
    (root / "clouds.jsonl").write_text("\n".join(map(json.dumps, lines)))
    server = start_server(ISTHMUS_INGEST_ROOTS=root, TINY_ROW_SECONDS=0.02, ISTHMUS_MAX_BATCH=8)
    expected = Expected(tiny_bundle)
    other = write_connector(tmp_path / "other", "ulip", seed=77)
    version = publish(server, other)
    expected.publish(version, other)
    job = server.client.post("/jobs/ingest", json={"manifest": "clouds.jsonl"}).json()
    until(lambda: server.client.get(f"/jobs/{job['id']}").json()["progress"]["done"])
    switch = server.client.post(f"/connectors/{version}/activate").json()
    assert ended(server, switch["id"])["state"] == "done"
    job = ended(server, job["id"])
    assert job["result"] == {"stored": CLOUDS, "unchanged": 0, "failed": 0, "truncated": 0}, job

    def vectors() -> dict[str, list[float]]:
        reply = server.client.get("/points", params={"limit": 1000, "with_vectors": True}).json()
        assert reply["count"] == len(reply["points"]) == CLOUDS
        return {point["id"]: point["vector"] for point in reply["points"]}

    before = vectors()
    expected.check(before, version)
    backup = ["backup", str(tmp_path / "backup"), "--url", server.url]
    assert CliRunner().invoke(app, backup, catch_exceptions=False).exit_code == 0
    assert server.stop() == 0
    server.data_dir.rename(tmp_path / "lost")
    restore = ["restore", str(tmp_path / "backup"), "--data-dir", str(server.data_dir)]
    assert CliRunner().invoke(app, restore, catch_exceptions=False).exit_code == 0
    server.start()
    server.wait_ready()
    assert server.client.get("/connectors").json()["active"] == version
    assert_same_vectors_by_id(vectors(), before)

import os
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import tiny_encoders
from waiting import until

from service.gallery.items import gallery_items

ROOT = Path(__file__).parents[2]


@pytest.fixture
def bundle(tiny_bundle, tmp_path):
    """A bundle that a test may change."""
    return Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))


@pytest.fixture
def run_demo(bundle, tmp_path):
    """Runs `isthmus demo` with what `ask` does to it once it is ready; gives its output."""

    def run(ask):
        log = (tmp_path / "demo.log").open("w+")
        path = os.pathsep.join([str(ROOT), str(Path(tiny_encoders.__file__).parent)])
        options = ["--port", "0", "--bundle", str(bundle), "--data-dir", str(tmp_path / "data")]
        process = subprocess.Popen(
            [sys.executable, "-m", "tiny_encoders", "demo", *options],
            env={**os.environ, "PYTHONPATH": path},
            cwd=ROOT,
            stdout=log,
            stderr=log,
        )
        try:
            said = Path(log.name)
            until(
                lambda: "ready at " in said.read_text(),
                failed=lambda: process.poll() is not None,
                tell=said.read_text,
            )
            with httpx.Client(base_url=said.read_text().split("ready at ")[1].split()[0]) as client:
                ask(client)
            process.terminate()
            assert process.wait(30) == 0, said.read_text()
            return said.read_text()
        finally:
            process.kill()
            log.close()

    return run


def test_a_demo_has_the_whole_gallery_when_it_is_ready_and_once_however_often_it_starts(run_demo):
    created = []

    def ask(client):
        assert client.get("/readyz").json()["status"] == "ready"
        reply = client.get("/points", params={"limit": 200}).json()
        assert {point["id"] for point in reply["points"]} == {item.id for item in gallery_items()}
        dog = client.get("/points/image/dog").json()
        assert dog["metadata"]["caption"] == "a dog with a red collar"
        assert client.get(dog["media_url"]).content == next(
            item.data for item in gallery_items() if item.id == "image/dog"
        )
        hits = client.post("/search", json={"query": [{"text": "a bird"}], "target_modalities": ["image"]})
        assert len(hits.json()["hits"]) == 10
        created.append(sorted(point["created"] for point in reply["points"]))

    first, second = run_demo(ask), run_demo(ask)
    assert "the gallery is in" in first and "the gallery is in" not in second
    assert created[0] == created[1]
    assert "Three things to try" in second


def test_a_demo_goes_on_when_its_bundle_brings_other_connectors(run_demo, bundle):
    versions = []

    def ask(client):
        until(lambda: client.get("/readyz").json()["refresh"] is None, every=0.05)
        versions.append(client.get("/readyz").json()["connector"])
        reply = client.post("/search", json={"query": [{"id": "point_cloud/car"}], "limit": 1})
        assert reply.is_success, reply.text
        hits = reply.json()["hits"]
        assert hits[0]["id"] == "point_cloud/car" and hits[0]["cosine"] > 0.9999

    run_demo(ask)
    tiny_encoders.write_bundle(bundle, seed=4)
    said = run_demo(ask)
    assert versions[0] != versions[1]
    assert f"connector {versions[1]} took over from {versions[0]}" in said
    assert "the gallery is in" not in said, "nothing was embedded anew"

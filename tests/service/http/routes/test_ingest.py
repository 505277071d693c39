"""Folders, archives and manifests are ingested by jobs that can be watched, stopped and sent twice."""

import io
import json
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from media_files import cloud, jpeg, png, wav
from server_process import ServerProcess
from tiny_encoders import GATES, Gate
from waiting import until

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the server may read: a folder of every modality with two bad files, and a larger one of texts."""
    root = tmp_path_factory.mktemp("root")
    (root / "mixed/deep").mkdir(parents=True)
    (root / "texts").mkdir()
    for name, data in {
        "photo.jpg": jpeg(1),
        "deep/photo again.jpg": jpeg(1),
        "deep/sound.wav": wav(),
        "shape.npy": cloud(),
        "note.txt": b"a note",
        "broken.png": b"no picture at all",
        "inner.zip": b"PK\x03\x04",
        ".hidden.txt": b"hidden",
    }.items():
        (root / "mixed" / name).write_bytes(data)
    (root / "mixed/secret.txt").symlink_to("/etc/hostname")
    for number in range(150):
        (root / "texts" / f"{number:03}.txt").write_text(f"text number {number}")
    return root


@pytest.fixture(scope="module")
def gates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gates")


@pytest.fixture(scope="module")
def server(
    tiny_bundle: Path, root: Path, gates: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    settings = {
        "ISTHMUS_INGEST_ROOTS": root,
        "ISTHMUS_MAX_ITEM_BYTES": 2 * MIB,
        "ISTHMUS_MAX_ARCHIVE_BYTES": 4 * MIB,
        "ISTHMUS_ARCHIVE_ENTRIES": 200,
        "ISTHMUS_CACHE_ITEMS": 0,
        GATES: gates,
    }
    server = ServerProcess(tiny_bundle, tmp_path_factory.mktemp("ingesting") / "data", **settings)
    server.wait_ready()
    yield server
    assert server.stop() == 0
    assert "Traceback" not in server.log()


@pytest.fixture
def gate(gates: Path) -> Iterator[Gate]:
    """What texts and images wait for, once it is shut."""
    yield Gate(gates / "clip")
    Gate(gates / "clip").open()


def zip_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def wait(
    api: httpx.Client, reply: httpx.Response, wanted: Callable[[dict[str, Any]], object]
) -> dict[str, Any]:
    """The job that a reply tells of, once it is as wanted."""
    assert reply.is_success, reply.text
    job: dict[str, Any] = reply.json()

    def is_as_wanted() -> object:
        if not wanted(job):
            job.update(api.get(f"/jobs/{job['id']}").json())
        return wanted(job)

    until(is_as_wanted, every=0.02, failed=lambda: job["state"] == "failed", tell=lambda: job)
    return job


def ended(job: dict[str, Any]) -> bool:
    return job["state"] in ("done", "cancelled")


def points(api: httpx.Client, collection: str) -> dict[str, dict[str, Any]]:
    page = api.get("/points", params={"collection": collection, "limit": 1000}).json()
    assert page["count"] == len(page["points"])
    return {point["name"]: point for point in page["points"]}


def test_a_folder_goes_in_and_its_bad_files_are_named(server: ServerProcess) -> None:
    body = {"folder": "mixed", "collection": "mixed", "metadata": {"from": "folder"}}
    reply = server.client.post("/jobs/ingest", json=body)
    assert reply.status_code == 202
    assert reply.headers["location"] == f"/jobs/{reply.json()['id']}"
    job = wait(server.client, reply, ended)
    assert job["kind"] == "ingest"
    assert job["progress"]["done"] == job["progress"]["total"] == 8
    assert job["result"] == {"stored": 4, "unchanged": 1, "failed": 3, "truncated": 0}
    reasons = {error["item"]: error["message"] for error in job["errors"]}
    assert set(reasons) == {"broken.png", "inner.zip", "secret.txt"}
    assert "leads out" in reasons["secret.txt"]
    assert "archive" in reasons["inner.zip"]
    found = points(server.client, "mixed")
    kinds = {name: point["modality"] for name, point in found.items()}
    assert kinds == {
        "photo.jpg": "image",
        "deep/sound.wav": "audio",
        "shape.npy": "point_cloud",
        "note.txt": "text",
    }
    assert {json.dumps(point["metadata"]) for point in found.values()} == {'{"from": "folder"}'}
    media = server.client.get(found["photo.jpg"]["media_url"])
    assert media.content == jpeg(1)
    query = {"query": [{"text": "a note"}], "collection": "mixed", "target_modalities": ["text"]}
    assert server.client.post("/search", json=query).json()["hits"][0]["name"] == "note.txt"


def test_what_lies_beside_a_mesh_is_not_taken_for_text(server: ServerProcess) -> None:
    corners = "".join(f"v {x} {y} {z}\n" for x in (0, 1) for y in (0, 1) for z in (0, 1))
    archive = zip_of(
        {
            "chair.obj": f"mtllib chair.mtl\n{corners}f 1 2 4\nf 1 4 3\nf 5 6 8\n".encode(),
            "chair.mtl": b"newmtl oak\nKd 0.5 0.3 0.1\n",
            "chair.vtk": b"# vtk DataFile Version 3.0\nchair\nASCII\n",
            "desktop.ini": b"[.ShellClassInfo]\n",
            "README": b"a chair of oak",
        }
    )
    reply = server.client.post(
        "/jobs/ingest", data={"collection": "chairs"}, files={"archive": ("chairs.zip", archive)}
    )
    job = wait(server.client, reply, ended)
    assert job["result"] == {"stored": 2, "unchanged": 0, "failed": 3, "truncated": 0}
    kinds = {name: point["modality"] for name, point in points(server.client, "chairs").items()}
    assert kinds == {"chair.obj": "point_cloud", "README": "text"}
    assert {fault["item"] for fault in job["errors"]} == {"chair.mtl", "chair.vtk", "desktop.ini"}
    assert {fault["code"] for fault in job["errors"]} == {"unsupported_media"}
    said = " ".join(fault["message"] for fault in job["errors"])
    assert "chair.mtl is a list of an obj's materials, which is not supported" in said


def test_texts_that_the_encoder_does_not_read_or_know_are_told(server: ServerProcess) -> None:
    lines = [{"text": "short"}, {"text": "word " * 100}, {"text": "日本", "name": "strange"}]
    upload = {"manifest": ("m.jsonl", "\n".join(map(json.dumps, lines)).encode())}
    reply = server.client.post("/jobs/ingest", data={"collection": "limits"}, files=upload)
    job = wait(server.client, reply, ended)
    assert job["result"] == {"stored": 2, "unchanged": 0, "failed": 1, "truncated": 1}
    (fault,) = job["errors"]
    assert (fault["item"], fault["code"]) == ("strange", "invalid_media")
    assert "no word that the text encoder knows" in fault["message"]


def test_what_is_there_already_is_not_embedded_again(server: ServerProcess, gate: Gate) -> None:
    api = server.client
    body = {"folder": "texts", "collection": "again"}
    assert wait(api, api.post("/jobs/ingest", json=body), ended)["result"]["stored"] == 150
    before = points(api, "again")
    with gate.closed():
        job = wait(api, api.post("/jobs/ingest", json=body), ended)
    assert job["result"] == {"stored": 0, "unchanged": 150, "failed": 0, "truncated": 0}
    assert points(api, "again") == before
    other = wait(api, api.post("/jobs/ingest", json={**body, "metadata": {"new": 1}}), ended)
    assert other["result"]["stored"] == 150


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_an_archive_goes_in(kind: str, server: ServerProcess) -> None:
    api = server.client
    files = {"a/photo.jpg": jpeg(5), "b.wav": wav(), "../out.txt": b"out", "bad.png": b"?", "c.zip": b"PK"}
    if kind == "zip":
        data = zip_of(files)
    else:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
            for name, content in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        data = buffer.getvalue()
    form = {"collection": f"from-{kind}", "metadata": '{"album": "a"}'}
    job = wait(api, api.post("/jobs/ingest", files={"archive": (f"my.{kind}", data)}, data=form), ended)
    assert job["params"]["name"] == f"my.{kind}"
    assert job["result"] == {"stored": 2, "unchanged": 0, "failed": 3, "truncated": 0}
    assert {error["item"] for error in job["errors"]} == {"../out.txt", "bad.png", "c.zip"}
    found = points(api, f"from-{kind}")
    assert set(found) == {"a/photo.jpg", "b.wav"}
    assert found["b.wav"]["metadata"] == {"album": "a"}
    until(lambda: not list((server.data_dir / "ingest").iterdir()))


def test_a_manifest_says_ids_metadata_and_collections(server: ServerProcess, root: Path) -> None:
    api = server.client
    lines = [
        {"path": "mixed/photo.jpg", "id": "my photo", "metadata": {"n": 1}},
        {"text": "a robin sings", "id": "my text", "collection": "listed-too", "name": "song"},
        {"path": "../outside.jpg"},
        {"path": "mixed/nothing.jpg"},
        {"path": "mixed/photo.jpg", "colour": "red"},
        {"path": "mixed/photo.jpg", "modality": "audio", "id": "no sound"},
        {"text": "first", "id": "twice"},
        {"text": "second", "id": "twice"},
    ]
    manifest = "\n".join(map(json.dumps, lines)).encode()
    form = {"collection": "listed", "metadata": '{"n": 0, "m": 0}'}
    upload = {"manifest": ("m.jsonl", manifest)}
    job = wait(api, api.post("/jobs/ingest", files=upload, data=form), ended)
    assert job["result"] == {"stored": 4, "unchanged": 0, "failed": 4, "truncated": 0}
    assert [error["item"] for error in job["errors"]] == [
        "../outside.jpg",
        "mixed/nothing.jpg",
        "line 5",
        "mixed/photo.jpg",
    ]
    photo = api.get("/points/my photo", params={"collection": "listed"}).json()
    assert photo["metadata"] == {"n": 1, "m": 0}
    assert api.get("/points/my text", params={"collection": "listed-too"}).json()["text"] == "a robin sings"
    twice = api.get("/points/twice", params={"collection": "listed"}).json()
    assert twice["text"] == "second", "the later of two lines with one id holds"
    (root / "mixed/.m.jsonl").write_text('{"path": "../texts/001.txt", "id": "one"}')
    body = {"manifest": "mixed/.m.jsonl", "collection": "listed"}
    assert wait(api, api.post("/jobs/ingest", json=body), ended)["result"]["stored"] == 1


def test_an_archive_with_a_manifest_holds_what_that_says(server: ServerProcess) -> None:
    api = server.client
    manifest = b'{"path": "files/0", "name": "birds/robin.jpg", "id": "robin"}\n{"text": "sings", "id": "t"}'
    data = zip_of({"files/0": jpeg(7), "files/1": jpeg(8), "manifest.jsonl": manifest})
    reply = api.post("/jobs/ingest", files={"archive": ("p.zip", data)}, data={"collection": "packed"})
    assert wait(api, reply, ended)["result"]["stored"] == 2
    point = api.get("/points/robin", params={"collection": "packed"}).json()
    assert (point["name"], point["modality"]) == ("birds/robin.jpg", "image")


def test_a_key_sent_twice_gives_one_job(server: ServerProcess) -> None:
    api = server.client
    key = {"idempotency-key": "once"}
    data = zip_of({"a.txt": b"a"})
    form = {"collection": "once"}
    first = api.post("/jobs/ingest", files={"archive": ("a.zip", data)}, data=form, headers=key)
    again = api.post("/jobs/ingest", files={"archive": ("a.zip", data)}, data=form, headers=key)
    assert first.json()["id"] == again.json()["id"]
    wait(api, first, ended)
    later = api.post("/jobs/ingest", files={"archive": ("a.zip", data)}, data=form, headers=key)
    assert (later.json()["id"], later.json()["state"]) == (first.json()["id"], "done")
    for other in (
        api.post(
            "/jobs/ingest", files={"archive": ("a.zip", zip_of({"b.txt": b"b"}))}, data=form, headers=key
        ),
        api.post("/jobs/ingest", json={"folder": "mixed", "collection": "once"}, headers=key),
    ):
        assert (other.status_code, other.json()["error"]["code"]) == (409, "job_conflict")
    assert (
        api.post("/jobs/ingest", json={"folder": "mixed"}, headers={"idempotency-key": ""}).status_code == 422
    )


def test_a_job_is_paused_and_goes_on_where_it_was(server: ServerProcess, gate: Gate) -> None:
    api = server.client
    with gate.closed():
        reply = api.post("/jobs/ingest", json={"folder": "texts", "collection": "paused"})
        job = wait(api, reply, lambda job: job["state"] == "running" and job["progress"]["total"])
        assert job["progress"] == {**job["progress"], "done": 0, "total": 150}
        until(lambda: admitted(api))
        assert api.post(f"/jobs/{job['id']}/pause").json()["asked"] == "pause"
    job = wait(api, reply, lambda job: job["state"] == "paused")
    assert 0 < job["progress"]["done"] <= len(points(api, "paused")) < 150
    job = wait(api, api.post(f"/jobs/{job['id']}/resume"), ended)
    assert job["progress"]["done"] == job["result"]["stored"] + job["result"]["unchanged"] == 150
    assert len(points(api, "paused")) == 150


def test_a_cancelled_job_leaves_nothing_but_its_points(server: ServerProcess, gate: Gate) -> None:
    api = server.client
    inputs = server.data_dir / "ingest"
    before = set(inputs.iterdir())
    archives = [
        zip_of({f"{number}.txt": f"cancel {number} of {part}".encode() for number in range(150)})
        for part in range(2)
    ]
    with gate.closed():
        replies = [
            api.post("/jobs/ingest", files={"archive": data}, data={"collection": "half"})
            for data in archives
        ]
        running = wait(api, replies[0], lambda job: job["progress"]["total"])
        until(lambda: admitted(api))
        for reply in reversed(replies):
            assert api.post(f"/jobs/{reply.json()['id']}/cancel").is_success
    states = [wait(api, reply, ended)["state"] for reply in replies]
    assert states == ["cancelled", "cancelled"]
    assert 0 < len(points(api, "half")) < 150
    until(lambda: set(inputs.iterdir()) <= before)
    assert api.post(f"/jobs/{running['id']}/resume").status_code == 409


def test_a_job_leaves_most_of_the_queue_to_others(server: ServerProcess, gate: Gate) -> None:
    """While texts wait and the job has all its batches in the queue, a sound is let in, and next in turn."""
    api = server.client
    with ThreadPoolExecutor(1) as thread:
        with gate.closed():
            reply = api.post("/jobs/ingest", json={"folder": "texts", "collection": "behind"})
            wait(api, reply, lambda job: job["progress"]["total"])
            until(lambda: admitted(api) > 0)
            assert admitted(api) <= 100, "a job has a few batches in the queue, not all it could hold"
            sound = {"files": ("s.wav", wav(880))}
            asked = thread.submit(api.post, "/embed", files=sound, data={"store": "false"})
            until(lambda: admitted(api, "clap") == 1)
            assert api.get("/points", params={"collection": "again"}).status_code == 200
        assert asked.result().status_code == 200
    wait(api, reply, ended)


def admitted(api: httpx.Client, encoder: str = "clip") -> float:
    lines = api.get("/metrics").text.splitlines()
    name = f'isthmus_admitted_items{{encoder="{encoder}"}} '
    return next((float(line.split()[-1]) for line in lines if line.startswith(name)), 0.0)


BAD: dict[str, tuple[int, dict[str, Any]]] = {
    "nothing at all": (422, {"json": {}}),
    "two sources": (422, {"json": {"folder": "mixed", "archive": "a.zip"}}),
    "a folder that is not there": (404, {"json": {"folder": "nothing"}}),
    "a folder outside": (422, {"json": {"folder": "../.."}}),
    "a folder outside by its full path": (422, {"json": {"folder": "/etc"}}),
    "a link out": (422, {"json": {"manifest": "mixed/secret.txt"}}),
    "a file as a folder": (422, {"json": {"folder": "mixed/note.txt"}}),
    "a folder as a manifest": (422, {"json": {"manifest": "mixed"}}),
    "a text as an archive": (415, {"json": {"archive": "mixed/note.txt"}}),
    "a text as a manifest": (422, {"json": {"manifest": "mixed/note.txt"}}),
    "a bad collection": (422, {"json": {"folder": "mixed", "collection": "no/name"}}),
    "no file": (422, {"files": {"other": b"x"}}),
    "two files": (422, {"files": [("archive", b"x"), ("manifest", b"y")]}),
    "two files in one field": (422, {"files": [("archive", zip_of({"a.txt": b"a"}))] * 2}),
    "a file and a text in one field": (
        422,
        {"files": {"manifest": b'{"text": "a"}'}, "data": {"manifest": "b"}},
    ),
    "no archive": (415, {"files": {"archive": b"hello"}}),
    "an empty upload": (415, {"files": {"archive": b""}}),
    "a cut archive": (422, {"files": {"archive": zip_of({"a.jpg": jpeg()})[:-30]}}),
    "an archive of nothing": (422, {"files": {"archive": zip_of({})}}),
    "an archive of too many": (413, {"files": {"archive": zip_of({f"{i}": b"" for i in range(201)})}}),
    "a bomb": (413, {"files": {"archive": zip_of({f"{i}.txt": bytes(10 * MIB) for i in range(8)})}}),
    "too large an upload": (413, {"files": {"archive": bytes(5 * MIB)}}),
    "an empty manifest": (422, {"files": {"manifest": b"\n\n"}}),
    "a picture as a manifest": (422, {"files": {"manifest": png()}}),
    "metadata that is none": (422, {"files": {"manifest": b"{}"}, "data": {"metadata": "[1]"}}),
    "an unknown field": (422, {"files": {"manifest": b"{}"}, "data": {"colour": "red"}}),
}


@pytest.mark.parametrize("what", BAD)
def test_what_cannot_be_ingested_is_refused_at_once(what: str, server: ServerProcess) -> None:
    status, request = BAD[what]
    before = len(server.client.get("/jobs").json()["jobs"])
    reply = server.client.post("/jobs/ingest", **request)
    assert reply.status_code == status, reply.text
    assert reply.json()["error"]["message"]
    assert "root:" not in reply.text
    assert len(server.client.get("/jobs").json()["jobs"]) == before
    assert not list((server.data_dir / "scratch").iterdir())

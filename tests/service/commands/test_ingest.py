"""`isthmus ingest` does the same job against a server and without one, and again finds nothing to do."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny_encoders
from media_files import jpeg, wav
from server_process import ServerProcess
from typer.testing import CliRunner

from connectors.errors import ConfigError, MissingFiles
from service.commands.ingest import app
from service.index.edge.edge_backend import EdgeBackend
from service.index.protocol import Layout
from service.index.vector_index import VectorIndex
from service.media.store import MediaStore

LAYOUT = Layout(tiny_encoders.DIMS["clip"], tiny_encoders.DIMS, "")
FILES = {"photo.jpg": jpeg(1), "deep/sound.wav": wav(), "deep/note.txt": b"a note", "bad.png": b"?"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, data in FILES.items():
        path = tmp_path / "folder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path / "folder"


@pytest.fixture(scope="module")
def server(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("commands")
    server = ServerProcess(tiny_bundle, folder / "data", ISTHMUS_INGEST_ROOTS=folder.parent)
    server.wait_ready()
    yield server
    assert server.stop() == 0


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(each) for each in arguments], catch_exceptions=False)
    return result.exit_code, result.output


def test_a_folder_is_ingested_without_a_server(tiny_bundle: Path, folder: Path, tmp_path: Path) -> None:
    options = ["--data-dir", tmp_path / "data", "--bundle", tiny_bundle, "--metadata", '{"a": 1}']
    status, said = run(folder, *options)
    assert status == 1, "one file could not be ingested"
    assert "3 stored, 0 were there already, 1 failed" in said
    assert "bad.png" in said and "holds" in said
    status, said = run(folder, *options)
    assert "0 stored, 3 were there already, 1 failed" in said
    media = MediaStore.open(tmp_path / "data" / "media")
    with VectorIndex(EdgeBackend(tmp_path / "data" / "index"), LAYOUT) as index:
        points = index.scroll("default")[0]
        assert {point.payload["name"]: media.read(point.payload["media"]) for point in points} == {
            name: data for name, data in FILES.items() if name != "bad.png"
        }
        assert all(point.payload["metadata"] == {"a": 1} for point in points)


def test_a_folder_is_sent_to_a_server(server: ServerProcess, folder: Path) -> None:
    options = ["--url", server.url, "--collection", "sent"]
    status, said = run(folder, *options)
    assert (status, "3 stored, 0 were there already, 1 failed" in said) == (1, True), said
    assert "bad.png" in said
    (folder / "bad.png").unlink()
    status, said = run(folder, *options)
    assert (status, "0 stored, 3 were there already, 0 failed" in said) == (0, True), said
    page = server.client.get("/points", params={"collection": "sent"}).json()
    assert {point["name"] for point in page["points"]} == set(FILES) - {"bad.png"}


def test_a_manifest_and_an_archive_are_sent_too(server: ServerProcess, folder: Path, tmp_path: Path) -> None:
    archive = shutil.make_archive(str(tmp_path / "a"), "zip", folder)
    manifest = folder / "m.jsonl"
    lines = [{"path": "photo.jpg", "id": "p"}, {"text": "hello", "id": "t"}, {"path": "none.jpg"}]
    manifest.write_text("\n".join(map(json.dumps, lines)))
    status, said = run(manifest, "--url", server.url, "--collection", "listed")
    assert (status, "2 stored" in said, "none.jpg" in said) == (1, True, True), said
    assert server.client.get("/points/p", params={"collection": "listed"}).json()["name"] == "photo.jpg"
    _, said = run(archive, "--url", server.url, "--collection", "zipped")
    assert "3 stored" in said


def test_a_folder_of_the_server_is_named_to_it(server: ServerProcess, folder: Path) -> None:
    _, said = run(folder, "--url", server.url, "--on-server", "--collection", "named")
    assert "3 stored, 0 were there already, 1 failed" in said


def test_what_cannot_begin_is_said(folder: Path) -> None:
    with pytest.raises(MissingFiles, match="nothing"):
        run(folder / "nothing")
    with pytest.raises(ConfigError, match="--url"):
        run(folder, "--on-server")
    with pytest.raises(ConfigError, match="neither"):
        run(folder / "photo.jpg", "--url", "http://127.0.0.1:9")
    for metadata in ("[1]", "{"):
        with pytest.raises(ConfigError, match="JSON"):
            run(folder, "--metadata", metadata)

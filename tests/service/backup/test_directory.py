"""A backup taken while others write restores to what there was; damage is found before it is brought back."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from connectors.errors import ConfigError, IntegrityError, MissingFiles
from service.backup.directory import check_backup, restore_backup, write_backup
from service.commands.store import app
from service.concurrency.messages import Request
from service.index.edge.edge_backend import EdgeBackend
from service.index.edge.shard_messages import Hold
from service.index.edge.shard_process import ShardProcess
from service.index.opening import open_index
from service.index.protocol import Layout, Point
from service.index.vector_index import VectorIndex
from service.media.store import MediaStore

LAYOUT = Layout(8, {"clip": 8}, "v1")


def add(index: VectorIndex, media: MediaStore, number: int) -> None:
    vector = np.random.default_rng(number).standard_normal(8).astype(np.float32)
    vector /= np.linalg.norm(vector)
    with media.adding() as adding:
        key = adding.put(f"file {number}".encode())
        payload = {"media": key, "metadata": {"n": number}}
        index.upsert("birds", [Point(f"p{number}", "image", "clip", vector, vector, payload)])


def test_a_backup_taken_while_others_write_is_whole(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    media = MediaStore.open(data_dir / "media")
    written = 0
    done = threading.Event()
    with VectorIndex(EdgeBackend(data_dir / "index"), LAYOUT) as index:
        for number in range(30):
            add(index, media, number)

        def keep_writing() -> None:
            nonlocal written
            while not done.is_set():
                add(index, media, 30 + written)
                written += 1

        writer = threading.Thread(target=keep_writing)
        writer.start()
        try:
            manifest = write_backup(index.backend, media, tmp_path / "none", tmp_path / "backup")
        finally:
            done.set()
            writer.join()
    assert manifest["collections"] == ["birds"]
    restore_backup(tmp_path / "backup", tmp_path / "restored")
    restored = MediaStore.open(tmp_path / "restored" / "media")
    with VectorIndex(EdgeBackend(tmp_path / "restored" / "index"), LAYOUT) as index:
        points, _ = index.scroll("birds", 10_000, with_vectors=True)
        numbers = {int(point.id[1:]) for point in points}
        assert set(range(30)) <= numbers
        assert numbers == set(range(len(numbers))), "what was written before something kept was kept too"
        for point in points:
            assert restored.path(point.payload["media"]).read_bytes() == f"file {point.id[1:]}".encode()
        assert index.search("birds", points[0].unified, limit=1)[0].point.id == points[0].id


def reach_into_the_index_for_a_process_to_overtake(index: VectorIndex, collection: str) -> ShardProcess:
    """The process of a shard: what is asked of it while a backup is written is nobody else's to see."""
    process: ShardProcess = index.backend._shard(index.backend.current()[collection].name)._process
    return process


@pytest.mark.parametrize("awaited", [Hold(held=False), Hold(held=True)], ids=["first", "last"])
def test_a_collection_deleted_while_it_is_copied_is_left_out(
    awaited: Hold, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything of it is copied, and when all but the last changes are."""
    media = MediaStore.open(tmp_path / "media")
    with VectorIndex(EdgeBackend(tmp_path / "index"), LAYOUT) as index:
        add(index, media, 1)
        vector = np.eye(8, dtype=np.float32)[0]
        index.upsert("bees", [Point("b", "image", "clip", vector, vector, {})])
        process = reach_into_the_index_for_a_process_to_overtake(index, "bees")
        asked = process.call

        def overtaken(request: Request[Any], *rest: Any) -> object:
            if request == awaited:
                monkeypatch.undo()
                index.drop("bees")
            return asked(request, *rest)

        monkeypatch.setattr(process, "call", overtaken)
        write_backup(index.backend, media, tmp_path / "none", tmp_path / "backup")
    assert restore_backup(tmp_path / "backup", tmp_path / "new")["collections"] == ["birds"]
    assert len(list((tmp_path / "new" / "index" / "shards").iterdir())) == 1
    with VectorIndex(EdgeBackend(tmp_path / "new" / "index"), LAYOUT) as again:
        assert [each.name for each in again.collections()] == ["birds"]


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    media = MediaStore.open(tmp_path / "data" / "media")
    with VectorIndex(EdgeBackend(tmp_path / "data" / "index"), LAYOUT) as index:
        for number in range(3):
            add(index, media, number)
        write_backup(index.backend, media, tmp_path / "none", tmp_path / "backup")
    return tmp_path / "backup"


def test_a_damaged_backup_is_refused_and_nothing_is_brought_back(backup: Path, tmp_path: Path) -> None:
    [first, *_] = sorted((backup / "media").rglob("*"), key=lambda path: path.is_dir())
    first.write_bytes(b"other")
    with pytest.raises(IntegrityError, match=first.name):
        restore_backup(backup, tmp_path / "new")
    first.unlink()
    with pytest.raises(MissingFiles, match=first.name):
        restore_backup(backup, tmp_path / "new")
    (backup / "manifest.json").write_text("{}")
    with pytest.raises(IntegrityError, match="manifest"):
        check_backup(backup)
    with pytest.raises(MissingFiles, match="no backup"):
        check_backup(tmp_path)
    assert not (tmp_path / "new" / "index").exists()


def test_nothing_is_written_over(backup: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="exists"):
        restore_backup(backup, tmp_path / "data")
    with open_index(LAYOUT) as index, pytest.raises(ConfigError, match="snapshots"):
        write_backup(index.backend, MediaStore.open(tmp_path / "m"), tmp_path / "none", tmp_path / "other")


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(each) for each in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_commands_back_up_restore_export_and_import(backup: Path, tmp_path: Path) -> None:
    data, file = tmp_path / "data", tmp_path / "birds.parquet"
    assert "1 collections" in run("backup", tmp_path / "second", "--data-dir", data)
    assert "birds" in run("restore", tmp_path / "second", "--data-dir", tmp_path / "again")
    run("export", file, "--collection", "birds", "--data-dir", tmp_path / "again")
    run("import", file, "--collection", "copies", "--data-dir", tmp_path / "again")
    with VectorIndex(EdgeBackend(tmp_path / "again" / "index"), LAYOUT) as index:
        assert index.count("copies") == index.count("birds") == 3


def test_media_are_backed_up_from_where_they_are_kept_and_brought_back_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, again = tmp_path / "data", tmp_path / "again"
    kept = MediaStore.open(data / "media", "memory://kept")
    with VectorIndex(EdgeBackend(data / "index"), LAYOUT) as index:
        for number in range(10):
            add(index, kept, number)
    monkeypatch.setenv("ISTHMUS_DATA_DIR", str(data))
    monkeypatch.setenv("ISTHMUS_MEDIA_URL", "memory://kept")
    run("backup", tmp_path / "backup")
    assert len(list((tmp_path / "backup" / "media").rglob("*/*/*"))) == 10
    monkeypatch.setenv("ISTHMUS_MEDIA_URL", "memory://brought/back")
    run("restore", tmp_path / "backup", "--data-dir", again)
    assert list(MediaStore.open(again / "media", "memory://brought/back")) == list(kept)
    assert list(MediaStore.open(again / "media")) == [], "none in the data directory"
    with VectorIndex(EdgeBackend(again / "index"), LAYOUT) as index:
        assert index.count("birds") == 10


def test_the_commands_open_the_index_that_the_settings_name(
    backup: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, local = tmp_path / "birds.parquet", tmp_path / "local"
    run("export", file, "--collection", "birds", "--data-dir", tmp_path / "data")
    monkeypatch.setenv("ISTHMUS_INDEX", "local")
    run("import", file, "--collection", "birds", "--data-dir", local)
    with open_index(LAYOUT, data_dir=local, back_end="local") as index:
        assert index.count("birds") == 3
    run("export", tmp_path / "again.parquet", "--collection", "birds", "--data-dir", local)
    with pytest.raises(ConfigError, match="ISTHMUS_INDEX"):
        run("restore", backup, "--data-dir", tmp_path / "new")
    with pytest.raises(ConfigError, match="exported"):
        run("backup", tmp_path / "other", "--data-dir", local)

"""Files are kept once, found by their bytes, and gone when the last point that names them is."""

import gc
import hashlib
import os
import threading
import time
from collections.abc import Set
from pathlib import Path

import fsspec
import numpy as np
import pytest

from connectors.errors import ConfigError
from service.errors import MediaStoreUnavailable, NotFound
from service.index.opening import open_index
from service.index.protocol import CollectionInfo, Layout, Point, StoredPoint
from service.media import blobs as media_blobs
from service.media import store as media_store
from service.media.store import (
    MediaStore,
)
from service.pipeline import PointStore, used_in

DATA = b"a small file"
KEY = hashlib.sha256(DATA).hexdigest()


@pytest.fixture(params=["folder", "remote", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> MediaStore:
    if request.param == "folder":
        return MediaStore.open(tmp_path)
    if request.param == "s3":
        bucket = request.getfixturevalue("object_store").bucket()
        return MediaStore.open(tmp_path, f"s3://{bucket}/prefix")
    memory = fsspec.filesystem("memory")
    if memory.exists("/bucket"):
        memory.rm("/bucket", recursive=True)
    return MediaStore.open(tmp_path, "memory://bucket/prefix")


def put(store: MediaStore, data: bytes) -> str:
    with store.adding() as media:
        return media.put(data)


PAGE = 16


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file is synced to the disk: pages small enough that a few are more than one."""
    monkeypatch.setattr(media_store, "PAGE", PAGE)
    monkeypatch.setattr("service.pipeline.PAGE", PAGE)


def unused(keys: Set[str]) -> Set[str]:
    return set()


def in_use(keys: Set[str]) -> Set[str]:
    return keys


def test_a_file_comes_back_under_the_hash_of_its_bytes(store: MediaStore) -> None:
    assert put(store, DATA) == KEY
    assert put(store, DATA) == KEY
    assert store.path(KEY).read_bytes() == DATA
    assert list(store) == [KEY]


def test_many_files_are_kept_at_once_and_held_until_their_points_are_written(store: MediaStore) -> None:
    files = [f"file {number % 15}".encode() for number in range(30)]
    with store.adding() as media:
        keys = [media.put_soon(data) for data in files]
        media.wait()
        assert [store.read(key) for key in keys] == files
        assert store.collect(unused, older_than=0.0) == 0
    assert len(list(store)) == 15
    assert store.collect(unused, older_than=0.0) == 15, "none is held any more"


def test_what_is_not_there_is_not_found(store: MediaStore) -> None:
    for key in (KEY, "../../etc/passwd", ""):
        with pytest.raises(NotFound):
            store.path(key)
        assert store.thumbnail(key, 64) is None
        assert store.delete(key, unused) is False


def test_deleting_removes_the_file_and_its_thumbnails(store: MediaStore) -> None:
    put(store, DATA)
    store.keep_thumbnail(KEY, 64, b"small picture")
    assert store.thumbnail(KEY, 64) == b"small picture"
    assert store.delete(KEY, in_use) is False
    assert store.path(KEY).exists()
    assert store.delete(KEY, unused) is True
    assert store.thumbnail(KEY, 64) is None
    with pytest.raises(NotFound):
        store.path(KEY)
    store.keep_thumbnail(KEY, 64, b"late")
    assert store.thumbnail(KEY, 64) is None


def test_a_file_whose_point_is_being_written_is_not_deleted(store: MediaStore) -> None:
    with store.adding() as media:
        media.put(DATA)
        assert store.delete(KEY, unused) is False
    assert store.delete(KEY, unused) is True


def test_orphans_are_collected_once_they_are_old(tmp_path: Path) -> None:
    store = MediaStore.open(tmp_path)
    old, young, named = (put(store, bytes([i])) for i in range(3))
    for path in [store.path(old), store.path(named)]:
        os.utime(path, (time.time() - 7200,) * 2)
    half_written = store.path(old).with_name(".half")
    half_written.write_bytes(b"")
    os.utime(half_written, (time.time() - 7200,) * 2)
    assert store.collect(lambda keys: keys & {named}) == 1
    assert sorted(store) == sorted([young, named])
    assert not half_written.exists()
    put(store, bytes([2]))
    assert store.collect(unused, older_than=60) == 0, "a file sent again is as young as a new one"


def test_more_orphans_than_a_page_are_told_from_the_files_that_points_name(tmp_path: Path) -> None:
    vector = np.eye(4, dtype=np.float32)[0]
    with open_index(Layout(4, {"clip": 4}, "v1")) as index:
        store = MediaStore.open(tmp_path)
        keys = [put(store, f"{i}".encode()) for i in range(PAGE + 20)]
        named = {"a": keys[:5], "b": keys[3:10]}
        for collection, those in named.items():
            points = [
                Point(f"{copy} {key}", "text", "clip", vector, vector, {"media": key})
                for key in those
                for copy in range(PAGE // 4)
            ]
            index.upsert(collection, points)
        assert used_in(index)(set(keys)) == set(keys[:10])
        assert store.collect(used_in(index), older_than=0.0) == PAGE + 10
        assert sorted(store) == sorted(keys[:10])


def test_a_file_being_written_is_no_orphan_however_old(store: MediaStore) -> None:
    with store.adding() as media:
        media.put(DATA)
        assert store.collect(unused, older_than=0.0) == 0
    assert store.collect(unused, older_than=0.0) == 1


def test_what_killed_writers_of_thumbnails_left_is_collected(tmp_path: Path) -> None:
    store = MediaStore.open(tmp_path)
    put(store, DATA)
    store.keep_thumbnail(KEY, 64, b"small picture")
    folder = tmp_path / "thumbnails" / KEY[:2] / KEY
    for name, age in ((".64.dead", 7200), (".64.alive", 1)):
        (folder / name).write_bytes(b"half")
        os.utime(folder / name, (time.time() - age,) * 2)
    assert store.collect(in_use) == 0
    assert sorted(path.name for path in folder.iterdir()) == [".64.alive", "64"]


def test_files_go_with_the_points_that_a_filter_matches(tmp_path: Path) -> None:
    vector = np.eye(4, dtype=np.float32)[0]
    with open_index(Layout(4, {"clip": 4}, "v1")) as index:
        store = MediaStore.open(tmp_path)
        keys = [put(store, f"{i}".encode()) for i in range(PAGE + 20)]
        points = [
            Point(f"{i}", "text", "clip", vector, vector, {"media": key, "metadata": {"n": i}})
            for i, key in enumerate(keys)
        ]
        index.upsert("a", points)
        where = {"must": [{"key": "metadata.n", "range": {"gte": 10}}]}
        deleted = PointStore(index, store).delete_matching("a", where)
        assert sorted(map(int, deleted)) == [*range(10, PAGE + 20)]
        assert index.count("a") == 10
        assert index.count("a", where=where) == 0
        assert sorted(store) == sorted(keys[:10])


def test_a_file_goes_with_the_last_point_that_names_it(tmp_path: Path) -> None:
    vector = np.eye(4, dtype=np.float32)[0]
    with open_index(Layout(4, {"clip": 4}, "v1")) as index:
        store = MediaStore.open(tmp_path)
        key = put(store, DATA)
        for collection, point_id in (("a", "1"), ("a", "2"), ("b", "1")):
            index.upsert(collection, [Point(point_id, "text", "clip", vector, vector, {"media": key})])
        assert PointStore(index, store).delete("a", ["1", "unknown"]) == ["1"]
        assert PointStore(index, store).delete("a", ["2"]) == ["2"]
        assert used_in(index)({key, "0" * 64}) == {key}
        assert store.path(key).exists()
        assert PointStore(index, store).delete("b", ["1"]) == ["1"]
        assert list(store) == []


def test_a_file_goes_with_the_point_that_is_replaced(tmp_path: Path) -> None:
    vector = np.eye(4, dtype=np.float32)[0]
    with open_index(Layout(4, {"clip": 4}, "v1")) as index:
        store = MediaStore.open(tmp_path)

        def write(point_id: str, data: bytes) -> str:
            with store.adding() as media:
                key = media.put(data)
                point = Point(point_id, "text", "clip", vector, vector, {"media": key})
                PointStore(index, store).upsert("a", [point], index.get("a", [point_id]))
            return key

        first = write("1", b"first")
        assert write("2", b"first") == write("2", b"first") == first
        second = write("1", b"second")
        assert sorted(store) == sorted([first, second]), "point 2 still names the first"
        third = write("2", b"third")
        assert sorted(store) == sorted([second, third])


def test_files_go_with_their_collection_unless_another_has_them(tmp_path: Path) -> None:
    vector = np.eye(4, dtype=np.float32)[0]
    with open_index(Layout(4, {"clip": 4}, "v1")) as index:
        store = MediaStore.open(tmp_path)
        keys = [put(store, f"{i}".encode()) for i in range(PAGE + 10)]
        points = [Point(f"{i}", "text", "clip", vector, vector, {"media": key}) for i, key in enumerate(keys)]
        index.upsert("a", points)
        index.upsert("b", points[:1])
        assert PointStore(index, store).drop("a") is True
        assert list(store) == keys[:1]
        assert PointStore(index, store).drop("a") is False
        assert PointStore(index, store).drop("b") is True
        assert list(store) == []


def test_many_files_are_deleted_by_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vector = np.eye(4, dtype=np.float32)[0]
    with open_index(Layout(4, {"clip": 4}, "v1")) as index:
        store = MediaStore.open(tmp_path)
        collections, drop = index.collections, index.drop
        asked, held = 0, 0

        def count_asked() -> list[CollectionInfo]:
            nonlocal asked
            asked += 1
            return collections()

        def count_held(collection: str) -> bool:
            nonlocal held
            points = [each for each in gc.get_objects() if type(each) is StoredPoint]
            held = sum("media" in each.payload for each in points)
            return drop(collection)

        monkeypatch.setattr(index, "collections", count_asked)
        monkeypatch.setattr(index, "drop", count_held)

        def write(collection: str) -> None:
            points = [
                Point(f"{i}", "text", "clip", vector, vector, {"media": put(store, f"{i}".encode())})
                for i in range(3 * PAGE)
            ]
            index.upsert(collection, points)

        write("a")
        assert PointStore(index, store).drop("a") is True
        assert list(store) == []
        assert asked <= 3, "what points name is asked for a page of files, not for each"
        assert held <= PAGE, "of a collection no more points are in memory at once"
        write("a")
        asked = 0
        deleted = PointStore(index, store).delete_matching("a", {"must_not": [{"has_id": ["0"]}]})
        assert len(deleted) == 3 * PAGE - 1
        assert len(list(store)) == 1
        assert asked <= 3
        index.drop("a")
        write("b")
        index.drop("b")
        asked = 0
        assert store.collect(used_in(index), older_than=0.0) == 3 * PAGE
        assert asked <= 2 * 4, "once to find a page's orphans, once when nothing is written meanwhile"


def test_uploads_and_deletes_at_once_never_leave_a_point_without_its_file(tmp_path: Path) -> None:
    vector = np.eye(4, dtype=np.float32)[0]
    with open_index(Layout(4, {"clip": 4}, "v1")) as index:
        store = MediaStore.open(tmp_path)
        missing: list[str] = []

        def work(part: int) -> None:
            for turn in range(15):
                with store.adding() as media:
                    key = media.put(DATA)
                    index.upsert("a", [Point(f"{part}", "text", "clip", vector, vector, {"media": key})])
                try:
                    store.path(key)
                except NotFound:
                    missing.append(f"{part} {turn}")
                PointStore(index, store).delete("a", [f"{part}"])

        threads = [threading.Thread(target=work, args=(part,)) for part in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert missing == []
        assert list(store) == []


def test_of_files_kept_elsewhere_the_copies_last_asked_for_are_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(media_blobs, "COPIES_BYTES", 10 * 100)
    store = MediaStore.open(tmp_path, "memory://bucket/copies")
    keys = [put(store, bytes([i]) * 100) for i in range(26)]

    def read_long_ago(those: list[str]) -> None:
        for age, key in enumerate(reversed(those)):
            path = store.path(key)
            os.utime(path, (time.time() - 7200 - age, path.stat().st_mtime))

    def here() -> set[str]:
        return {path.name for path in tmp_path.rglob("*") if path.is_file()}

    read_long_ago(keys[:25])
    written = store.path(keys[0]).stat().st_mtime
    assert store.path(keys[0]).stat().st_mtime == written, "a copy is no newer for being asked for"
    store.path(keys[25])
    assert here() == {keys[0], *keys[17:26]}
    assert [store.read(key) for key in keys] == [bytes([i]) * 100 for i in range(26)]
    for i, key in enumerate(keys):
        assert store.path(key).read_bytes() == bytes([i]) * 100
    assert here() == set(keys), "copies asked for lately stay, however many"


def test_files_from_before_they_were_kept_elsewhere_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(media_blobs, "COPIES_BYTES", 0)
    before = MediaStore.open(tmp_path)
    key = put(before, DATA)
    os.utime(before.path(key), (time.time() - 7200,) * 2)
    store = MediaStore.open(tmp_path, "memory://bucket/since")
    store.path(put(store, b"another"))
    assert store.path(key).read_bytes() == DATA


def test_a_storage_that_fails_is_said_to(tmp_path: Path) -> None:
    store = MediaStore.open(tmp_path)
    (tmp_path / "files").write_text("in the way")
    with pytest.raises(MediaStoreUnavailable, match="written"):
        put(store, DATA)
    with store.adding() as media:
        media.put_soon(DATA)
        with pytest.raises(MediaStoreUnavailable, match="written"):
            media.wait()
    with pytest.raises(ConfigError, match="nowhere"):
        MediaStore.open(tmp_path, "nowhere://bucket")

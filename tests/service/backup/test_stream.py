"""A backup that is sent while it is made is the same backup; one that broke off is none."""

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from connectors.errors import ConfigError, IntegrityError, MissingFiles
from service.backup.directory import restore_backup
from service.backup.stream import receive_backup, stream_backup
from service.index.edge.edge_backend import EdgeBackend
from service.index.opening import open_index
from service.index.protocol import Layout, Point
from service.index.vector_index import VectorIndex
from service.media.store import MediaStore
from service.pipeline import PointStore, used_in

LAYOUT = Layout(8, {"clip": 8}, "v1")
VECTOR = np.eye(8, dtype=np.float32)[0]


def add(index: VectorIndex, media: MediaStore, number: int) -> None:
    with media.adding() as adding:
        payload = {"media": adding.put(f"file {number}".encode())}
        index.upsert("birds", [Point(f"p{number}", "image", "clip", VECTOR, VECTOR, payload)])


@pytest.fixture
def media(tmp_path: Path) -> MediaStore:
    return MediaStore.open(tmp_path / "media")


@pytest.fixture
def index(media: MediaStore, tmp_path: Path) -> Iterator[VectorIndex]:
    with VectorIndex(EdgeBackend(tmp_path / "index"), LAYOUT) as index:
        for number in range(5):
            add(index, media, number)
        yield index


def test_what_was_sent_restores_to_what_there_was(
    index: VectorIndex, media: MediaStore, tmp_path: Path
) -> None:
    (tmp_path / "connectors" / "releases").mkdir(parents=True)
    (tmp_path / "connectors" / "releases" / "v1").write_text("a release")
    (tmp_path / "connectors" / "releases" / ".v2-half").write_text("half a release")
    chunks = stream_backup(index.backend, media, tmp_path / "connectors", tmp_path / "scratch")
    first = next(chunks)
    add(index, media, 5)
    assert PointStore(index, media).delete("birds", ["p0"]) == ["p0"]
    stream = first + b"".join(chunks)
    assert not any((tmp_path / "scratch").iterdir())
    manifest = receive_backup([stream[at : at + 1000] for at in range(0, len(stream), 1000)], tmp_path / "b")
    assert manifest["collections"] == ["birds"]
    restore_backup(tmp_path / "b", tmp_path / "new")
    [release] = (tmp_path / "new" / "connectors" / "releases").iterdir()
    assert release.read_text() == "a release"
    restored = MediaStore.open(tmp_path / "new" / "media")
    with VectorIndex(EdgeBackend(tmp_path / "new" / "index"), LAYOUT) as again:
        points = again.scroll("birds", 100)[0]
        assert sorted(point.id for point in points) == [f"p{i}" for i in range(5)], "as of the copy's moment"
        for point in points:
            assert restored.read(point.payload["media"]) == f"file {point.id[1:]}".encode()
    assert media.collect(used_in(index), older_than=0.0) == 1, "what was deleted meanwhile goes afterwards"


def test_a_stream_that_broke_off_or_was_changed_is_refused(
    index: VectorIndex, media: MediaStore, tmp_path: Path
) -> None:
    stream = b"".join(stream_backup(index.backend, media, tmp_path / "connectors", tmp_path / "scratch"))
    for broken in (stream[:700], stream[: len(stream) // 2], stream[:-1500], b"", b"no tar at all" * 100):
        with pytest.raises(IntegrityError, match="broke off"):
            receive_backup([broken], tmp_path / "broken")
    with pytest.raises(IntegrityError, match="not as it was"):
        receive_backup([stream.replace(b"file 3", b"file 7")], tmp_path / "broken")
    with pytest.raises(MissingFiles, match="missing"):
        receive_backup([without_member(stream, "media/")], tmp_path / "broken")
    assert not (tmp_path / "broken").exists()


@pytest.mark.parametrize("name", ["index/../../escaped", "/escaped", "other/file", ".", ""])
def test_a_stream_writes_nothing_outside_its_folder(name: str, tmp_path: Path) -> None:
    hostile = tarfile.TarInfo(name)
    with pytest.raises(IntegrityError, match="belong"):
        receive_backup([hostile.tobuf() + bytes(1024)], tmp_path / "a" / "b")
    assert not list(tmp_path.rglob("escaped"))


def without_member(stream: bytes, prefix: str) -> bytes:
    """A tar file without the first member whose name begins so."""
    target = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(stream)) as source, tarfile.open(fileobj=target, mode="w") as copy:
        members = source.getmembers()
        left_out = next(each for each in members if each.name.startswith(prefix))
        for member in members:
            if member is not left_out:
                copy.addfile(member, source.extractfile(member))
    return target.getvalue()


def test_a_stream_that_nobody_reads_to_its_end_leaves_nothing(
    index: VectorIndex, media: MediaStore, tmp_path: Path
) -> None:
    chunks = stream_backup(index.backend, media, tmp_path / "connectors", tmp_path / "scratch")
    next(chunks)
    chunks.close()
    assert not any((tmp_path / "scratch").iterdir())
    assert PointStore(index, media).delete("birds", ["p1"]) == ["p1"]
    assert len(list(media)) == 4


def test_an_index_that_is_not_in_the_data_directory_is_not_backed_up(tmp_path: Path) -> None:
    with open_index(LAYOUT) as index, pytest.raises(ConfigError, match="snapshots"):
        next(stream_backup(index.backend, MediaStore.open(tmp_path / "m"), tmp_path, tmp_path / "scratch"))

"""Good archives give their files; bad ones are refused, or the entries that are bad, each with its reason."""

import gzip
import io
import random
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from connectors.errors import InvalidMedia, IsthmusError, MediaTooLarge, UnsupportedMedia
from service.errors import InvalidRequest, NotFound, RequestTooLarge
from service.ingest.archive import open_archive
from service.ingest.files import Files
from service.ingest.limits import HARMLESS, ArchiveLimits
from service.settings import MIB

LIMITS = ArchiveLimits(entries=50, bytes=200 * MIB, ratio=100.0)
LIMIT = 1000
FILES = {"b/one.txt": b"one", "two.txt": b"two", "a/three.txt": b"three"}
HIDDEN = {".DS_Store": b"x", "__MACOSX/._one.txt": b"x", "b/.git/config": b"x"}


def zip_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("b")
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def tar_of(files: dict[str, bytes], *others: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for member in others:
            archive.addfile(member)
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def tar_gz_of(files: dict[str, bytes]) -> bytes:
    return gzip.compress(tar_of(files))


KINDS: dict[str, Callable[[dict[str, bytes]], bytes]] = {"zip": zip_of, "tar": tar_of, "tar.gz": tar_gz_of}


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[[bytes], Files]]:
    with ExitStack() as closing:

        def opened(data: bytes, limits: ArchiveLimits = LIMITS) -> Files:
            (tmp_path / "archive.tar").unlink(missing_ok=True)
            (tmp_path / "archive").write_bytes(data)
            files = open_archive(tmp_path / "archive", limits, tmp_path / "archive.tar")
            closing.callback(files.close)
            return files

        yield opened


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_gives_its_files_in_its_order(kind: str, opened: Callable[[bytes], Files]) -> None:
    files = opened(KINDS[kind]({**FILES, **HIDDEN}))
    assert list(files.names()) == list(files.names()) == list(FILES)
    assert {name: files.read(name, LIMIT) for name in reversed(FILES)} == FILES
    with pytest.raises(NotFound, match="nothing"):
        files.read("nothing", LIMIT)


@pytest.mark.parametrize("kind", KINDS)
def test_single_entries_are_refused_by_name(kind: str, opened: Callable[[bytes], Files]) -> None:
    bad: dict[str, type[IsthmusError]] = {
        "../out.txt": InvalidMedia,
        "/etc/passwd": InvalidMedia,
        "a/../../out.txt": InvalidMedia,
        "..\\out.txt": InvalidMedia,
        "C:\\out.txt": InvalidMedia,
        "inner.zip": UnsupportedMedia,
        "inner.tar.gz": UnsupportedMedia,
        "large.txt": MediaTooLarge,
    }
    content = {name: b"x" * (LIMIT + 1 if name == "large.txt" else 5) for name in bad}
    files = opened(KINDS[kind]({**content, **FILES}))
    assert set(files.names()) == {*bad, *FILES}
    for name, error in bad.items():
        with pytest.raises(error) as refused:
            files.read(name, LIMIT)
        assert name.replace("\\", "") in refused.value.message.replace("\\", "")
    assert files.read("two.txt", LIMIT) == b"two"


def test_links_and_devices_in_archives_are_not_followed(opened: Callable[[bytes], Files]) -> None:
    link, hard, pipe = (tarfile.TarInfo(name) for name in ("link.txt", "hard.txt", "pipe.txt"))
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    hard.type, hard.linkname = tarfile.LNKTYPE, "two.txt"
    pipe.type = tarfile.FIFOTYPE
    entry = zipfile.ZipInfo("link.txt")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    buffer = io.BytesIO(zip_of(FILES))
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr(entry, "/etc/passwd")
    for data, names in (
        (tar_of(FILES, link, hard, pipe), ("link.txt", "hard.txt", "pipe.txt")),
        (buffer.getvalue(), ("link.txt",)),
    ):
        files = opened(data)
        for name in names:
            with pytest.raises(InvalidMedia, match=f"{name} is a link"):
                files.read(name, LIMIT)


@pytest.mark.parametrize("kind", KINDS)
def test_too_many_entries_are_refused(kind: str, opened: Callable[[bytes], Files]) -> None:
    with pytest.raises(RequestTooLarge, match="50 entries"):
        opened(KINDS[kind]({f"{i}.txt": b"x" for i in range(51)}))


def test_a_zip_with_a_huge_directory_is_refused_before_it_is_read(opened: Callable[[bytes], Files]) -> None:
    data = zip_of({f"{'n' * 200}{i}.txt": b"" for i in range(300)})
    with pytest.raises(RequestTooLarge, match="50 entries"):
        opened(data)


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_bombs_are_refused(kind: str, opened: Callable[[bytes], Files], tmp_path: Path) -> None:
    bomb = KINDS[kind]({"zeros.txt": bytes(HARMLESS + MIB)})
    assert len(bomb) < MIB
    with pytest.raises(RequestTooLarge, match="100 times"):
        opened(bomb)
    small = ArchiveLimits(entries=50, bytes=MIB, ratio=1e9)
    with pytest.raises(RequestTooLarge, match="unpacks to more than 1,048,576"):
        opened(KINDS[kind]({"zeros.txt": bytes(2 * MIB)}), small)
    assert [path.name for path in tmp_path.iterdir()] == ["archive"], "nothing of it is left"


def test_a_zip_that_lies_about_sizes_gives_no_more_than_it_said(opened: Callable[[bytes], Files]) -> None:
    data = bytearray(zip_of({"lie.txt": bytes(100_000)}))
    directory = data.rindex(b"PK\x01\x02")
    assert struct.unpack_from("<L", data, directory + 24) == (100_000,)
    struct.pack_into("<L", data, directory + 24, 10)
    with pytest.raises(InvalidMedia, match="damaged"):
        opened(bytes(data)).read("lie.txt", LIMIT)


def test_a_tar_whose_header_is_huge_is_refused(opened: Callable[[bytes], Files]) -> None:
    header = tarfile.TarInfo("pax")
    header.type, header.size = tarfile.XHDTYPE, 8 * MIB
    with pytest.raises(InvalidRequest, match="header"):
        opened(header.tobuf() + bytes(8 * MIB) + tar_of(FILES))


def test_entries_that_overlap_backwards_are_refused(opened: Callable[[bytes], Files]) -> None:
    member = tarfile.TarInfo("loop.txt")
    member.pax_headers = {"size": "-2048"}
    with pytest.raises(InvalidRequest, match="damaged"):
        opened(member.tobuf(tarfile.PAX_FORMAT) + tar_of(FILES))


def test_an_encrypted_entry_is_refused(opened: Callable[[bytes], Files]) -> None:
    data = bytearray(zip_of({"secret.txt": b"secret"}))
    data[data.rindex(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(UnsupportedMedia, match="encrypted"):
        opened(bytes(data)).read("secret.txt", LIMIT)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.8])
def test_an_archive_that_was_cut_is_refused(
    kind: str, share: float, opened: Callable[[bytes], Files]
) -> None:
    noise = random.Random(0)
    data = KINDS[kind]({f"{i}.bin": noise.randbytes(3000) for i in range(20)})
    with pytest.raises((InvalidRequest, UnsupportedMedia)):
        opened(data[: int(len(data) * share)])


def test_a_tar_cut_between_two_entries_is_refused(opened: Callable[[bytes], Files]) -> None:
    with pytest.raises(InvalidRequest, match="cut short"):
        opened(tar_of({"a.txt": b"a", "b.txt": b"b"})[: 2 * 512])


def test_what_is_no_archive_is_refused(opened: Callable[[bytes], Files]) -> None:
    for data in (b"", b"hello", b"7z\xbc\xaf\x27\x1c" + bytes(100), b"BZh91AY&SY" + bytes(50)):
        with pytest.raises(UnsupportedMedia, match="neither zip, tar nor"):
            opened(data)
    with pytest.raises(InvalidRequest):
        opened(gzip.compress(b"one file, no archive"))


def test_damage_anywhere_never_raises_anything_else(opened: Callable[[bytes], Files]) -> None:
    noise = random.Random(1)
    for make in KINDS.values():
        whole = make(FILES)
        for _ in range(150):
            data = bytearray(whole)
            for _ in range(noise.randint(1, 4)):
                data[noise.randrange(len(data))] = noise.randrange(256)
            try:
                files = opened(bytes(data))
            except IsthmusError:
                continue
            for name in list(files.names()):
                try:
                    files.read(name, LIMIT)
                except IsthmusError:
                    continue

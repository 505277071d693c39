"""Only files under an allowed root are read, whatever a name or a link says."""

import os
from pathlib import Path

import pytest

from connectors.errors import InvalidMedia, IsthmusError, MediaTooLarge, UnsupportedMedia
from service.errors import InvalidRequest, NotFound
from service.ingest.files import FolderFiles, NoFiles, allowed_path

LIMIT = 100


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with files of its own, links inside it and out of it, and a secret beside it."""
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "root-of-another").mkdir()
    (tmp_path / "root-of-another" / "secret.txt").write_text("secret")
    root = tmp_path / "root"
    for folder in ("b/deep", "a", ".hidden", "empty"):
        (root / folder).mkdir(parents=True)
    for name in ("b/deep/2.txt", "b/1.txt", "a/3.txt", "z.txt", ".hidden/4.txt", "b/.DS_Store", "a/5.zip"):
        (root / name).write_text(name)
    (root / "large.txt").write_text("x" * (LIMIT + 1))
    (root / "inside.txt").symlink_to("b/1.txt")
    (root / "outside.txt").symlink_to("../secret.txt")
    (root / "away").symlink_to("..")
    (root / "loop.txt").symlink_to("loop.txt")
    os.mkfifo(root / "pipe.txt")
    return root


def test_names_are_in_order_and_hidden_files_left_out(root: Path) -> None:
    assert list(FolderFiles(root, root).names()) == [
        "away",
        "inside.txt",
        "large.txt",
        "loop.txt",
        "outside.txt",
        "pipe.txt",
        "z.txt",
        "a/3.txt",
        "a/5.zip",
        "b/1.txt",
        "b/deep/2.txt",
    ]


def test_files_of_the_root_are_read(root: Path) -> None:
    files = FolderFiles(root / "b", root)
    assert files.read("1.txt", LIMIT) == b"b/1.txt"
    assert files.read("../a/3.txt", LIMIT) == b"a/3.txt", "a manifest's folder may lie beside its files"
    assert FolderFiles(root, root).read("inside.txt", LIMIT) == b"b/1.txt"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("outside.txt", InvalidRequest),
        ("away/secret.txt", InvalidRequest),
        ("../secret.txt", InvalidRequest),
        ("../root-of-another/secret.txt", InvalidRequest),
        ("b/../../secret.txt", InvalidRequest),
        ("/etc/passwd", InvalidRequest),
        ("away", InvalidRequest),
        ("b", InvalidMedia),
        ("pipe.txt", InvalidMedia),
        ("a/5.zip", UnsupportedMedia),
        ("large.txt", MediaTooLarge),
        ("nothing.txt", NotFound),
        ("loop.txt", NotFound),
        ("a\0b", NotFound),
        ("x" * 5000, NotFound),
    ],
)
def test_what_must_not_or_cannot_be_read_is_named(name: str, kind: type[IsthmusError], root: Path) -> None:
    with pytest.raises(kind) as refused:
        FolderFiles(root, root).read(name, LIMIT)
    assert name[:20] in refused.value.message
    assert "secret" not in refused.value.message.replace(name, "")


def test_a_link_that_is_changed_after_it_was_looked_at_gains_nothing(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = root / "z.txt"
    real_open = os.open

    def swap_then_open(path: Path, flags: int) -> int:
        target.unlink()
        target.symlink_to(root.parent / "secret.txt")
        return real_open(path, flags)

    monkeypatch.setattr(os, "open", swap_then_open)
    with pytest.raises(InvalidRequest, match="leads out"):
        FolderFiles(root, root).read("z.txt", LIMIT)


def test_a_name_that_is_not_utf8_is_reported(root: Path) -> None:
    (root / "empty" / os.fsdecode(b"caf\xe9.txt")).write_text("x")
    files = FolderFiles(root / "empty", root)
    [name] = files.names()
    with pytest.raises(NotFound, match="not UTF-8"):
        files.read(name, LIMIT)


def test_a_path_is_allowed_under_a_root_only(root: Path) -> None:
    other = root.parent / "root-of-another"
    real = Path(os.path.realpath(root))
    assert allowed_path("b", (other, root), "folder") == (real / "b", real)
    assert allowed_path(str(root / "b"), (root,), "folder") == (real / "b", real)
    assert allowed_path(".", (root,), "folder") == (real, real)
    for outside in (
        "..",
        "../secret.txt",
        "../nothing",
        "/etc",
        "/nothing",
        "away",
        "outside.txt",
        "b/../..",
    ):
        with pytest.raises(InvalidRequest, match="outside"):
            allowed_path(outside, (root,), "folder")
    for missing in ("nothing", "b/nothing", "a\0b", "x" * 5000):
        with pytest.raises(IsthmusError):
            allowed_path(missing, (root,), "folder")
    with pytest.raises(InvalidRequest, match="ISTHMUS_INGEST_ROOTS"):
        allowed_path("b", (), "folder")
    with pytest.raises(InvalidRequest, match="ISTHMUS_INGEST_ROOTS"):
        NoFiles().read("b", LIMIT)

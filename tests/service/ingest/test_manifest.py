"""Every line of a manifest is an item or says what is wrong with it, from any place on."""

import json
from pathlib import Path

import pytest

from service.errors import InvalidRequest
from service.ingest.manifest import LINE_BYTES, ManifestLine, Position, count_items, read_items, write_paths

LINES = [
    b'\xef\xbb\xbf{"path": "a.jpg", "id": "a", "metadata": {"n": 1}}',
    b"",
    b'{"text": "a robin sings", "collection": "notes", "name": "song"}',
    b'{"path": "a.jpg", "text": "both"}',
    b"not JSON",
    b'{"path": "b.wav", "modality": "audio"}\r',
    b'{"path": "c.wav", "modality": "the smell"}',
    b'{"text": "' + b"x" * LINE_BYTES + b'"}',
    b'{"text": "bad \xff bytes"}',
    b'{"path": "d.png", "colour": "red"}',
    b"   ",
    b'{"path": "last.png"}',
]


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    (tmp_path / "m.jsonl").write_bytes(b"\n".join(LINES))
    return tmp_path / "m.jsonl"


def test_items_and_bad_lines_are_told_apart(manifest: Path) -> None:
    items = list(read_items(manifest, Position()))
    good = [item for item in items if isinstance(item.line, ManifestLine)]
    assert [item.name for item in good] == ["a.jpg", "song", "b.wav", "last.png"]
    assert good[0].line == ManifestLine(path="a.jpg", id="a", metadata={"n": 1})
    bad = [item for item in items if isinstance(item.line, InvalidRequest)]
    assert [item.name for item in bad] == [f"line {n}" for n in (4, 5, 7, 8, 9, 10)]
    for item, reason in zip(bad, ("either", "JSON", "modality", "longer", "", "colour"), strict=True):
        assert reason in item.line.message and item.name in item.line.message
    assert count_items(manifest) == len(items) == 10


def test_reading_goes_on_from_any_place(manifest: Path) -> None:
    items = list(read_items(manifest, Position()))
    for number, item in enumerate(items):
        rest = [(each.name, each.after) for each in read_items(manifest, item.after)]
        assert rest == [(each.name, each.after) for each in items[number + 1 :]]


def test_paths_of_all_kinds_come_back(tmp_path: Path) -> None:
    paths = ["a b.jpg", 'quo"te.png', "new\nline.png", "ünïcode/犬.wav", "back\\slash"]
    write_paths(paths, tmp_path / "m.jsonl")
    assert count_items(tmp_path / "m.jsonl") == len(paths)
    lines = [item.line for item in read_items(tmp_path / "m.jsonl", Position())]
    assert [line.path for line in lines if isinstance(line, ManifestLine)] == paths
    assert json.loads((tmp_path / "m.jsonl").read_text().splitlines()[2]) == {"path": "new\nline.png"}

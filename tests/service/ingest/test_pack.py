"""What lies on one machine is packed so that a service on another ingests just that."""

import json
import tarfile
from pathlib import Path

from service.ingest.pack import items_of, pack

LIMIT = 1000


def test_a_folder_becomes_archives_of_a_bounded_size(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    names = [f"deep/odd \N{DOG} {number}.txt" for number in range(7)]
    for name in names:
        (tmp_path / name).write_text(name * 20)
    (tmp_path / "large.txt").write_bytes(bytes(LIMIT + 1))
    items, files = items_of(tmp_path)
    seen: dict[str, str] = {}
    parts = faults = 0
    for part in pack(items, files, LIMIT, part_bytes=3000):
        parts += 1
        faults += len(part.faults)
        with tarfile.open(fileobj=part.archive) as archive:
            manifest = archive.extractfile("manifest.jsonl")
            assert manifest is not None
            for line in map(json.loads, manifest.read().splitlines()):
                content = archive.extractfile(line["path"])
                assert content is not None
                seen[line["name"]] = content.read().decode()
    assert seen == {name: name * 20 for name in names}
    assert parts > 2
    assert faults == 1


def test_a_manifest_keeps_what_it_says_of_its_items(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    lines = [
        {"path": "a.txt", "id": "one", "metadata": {"n": 1}, "collection": "c", "modality": "text"},
        {"text": "b", "id": "two"},
        {"path": "nothing.txt"},
    ]
    manifest = tmp_path / "m.jsonl"
    manifest.write_text("\n".join(json.dumps(line) for line in lines) + "\nnonsense\n")
    items, files = items_of(manifest)
    [part] = [(part.items, [each.item for each in part.faults]) for part in pack(items, files, LIMIT)]
    assert part == (2, ["nothing.txt", "line 4"])
    items, files = items_of(manifest)
    for each in pack(items, files, LIMIT):
        with tarfile.open(fileobj=each.archive) as archive:
            content = archive.extractfile("manifest.jsonl")
            assert content is not None
            packed = [json.loads(line) for line in content.read().splitlines()]
    assert packed[0] == {**lines[0], "path": "files/0", "name": "a.txt"}
    assert packed[1] == lines[1]

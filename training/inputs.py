"""What `isthmus features` can be pointed at, read into examples.

A text file (one item a line), a JSONL or CSV manifest, a folder (every file of the modality, in order of
path), one file that stacks point clouds, or one media file. Paths in a manifest are relative to it. Ids are
the manifest's, else the line number or the path: the same input gives the same ids for every encoder.
"""

import csv
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from connectors.errors import ConfigError, MissingFiles
from connectors.modality import Modality
from training import video
from training.examples import Example, stack

SUFFIXES: Mapping[Modality, frozenset[str]] = {
    "text": frozenset({".txt", ".md"}),
    "image": frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif"}),
    "audio": frozenset(
        {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".m4a", ".aac", ".mka"}
    )
    | video.SUFFIXES,
    "point_cloud": frozenset(
        {".npy", ".npz", ".ply", ".pcd", ".xyz", ".las", ".laz", ".off", ".obj", ".stl", ".glb"}
    ),
}
"""File names a folder is searched for."""

SOURCE_KEYS, TEXT_KEYS = ("source", "file", "path"), ("text", "caption")
"""Keys of a manifest's rows, the first that is there."""


def read_inputs(path: Path, modality: Modality) -> list[Example]:
    """Read an input of any kind. Raises `MissingFiles` or `ConfigError`, naming the line at fault."""
    try:
        examples, sought = _read(path, modality)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text: {error}") from error
    if not examples:
        raise ConfigError(f"{path} holds no {modality}: it was searched for {sought}")
    twice = [name for name, count in Counter(example.id for example in examples).items() if count > 1]
    if twice:
        raise ConfigError(f"{path}: {len(twice)} ids come more than once, the first is {twice[0]!r}")
    return examples


def _read(path: Path, modality: Modality) -> tuple[list[Example], str]:
    """The examples, and what they were looked for as."""
    if path.is_dir():
        examples = list(_folder(path, modality))
        sought = f"files named {', '.join(sorted(SUFFIXES[modality]))}"
    elif not path.is_file():
        raise MissingFiles(f"{path} does not exist")
    elif path.suffix in (".jsonl", ".csv"):
        examples = [_example(row, path, line, modality) for line, row in read_rows(path)]
        sought = "rows"
    elif modality == "text":
        examples = list(_lines(path))
        sought = "lines"
    elif modality == "point_cloud" and path.suffix in (".npy", ".npz"):
        examples = [Example(str(row), source=path, row=row) for row in range(len(stack(path)))]
        sought = "clouds"
    else:
        examples, sought = [Example(path.name, source=path)], "file"
    return examples, sought


def _folder(path: Path, modality: Modality) -> Iterator[Example]:
    for file in sorted(path.rglob("*")):
        hidden = any(part.startswith(".") for part in file.relative_to(path).parts)
        if file.suffix.lower() in SUFFIXES[modality] and not hidden and file.is_file():
            yield Example(file.relative_to(path).as_posix(), source=file)


def _lines(path: Path) -> Iterator[Example]:
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield Example(str(number), text=line.strip())


def read_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number and object of each row of a .csv or JSONL file. Raises `ConfigError`."""
    with path.open(encoding="utf-8", newline="") as lines:
        if path.suffix == ".csv":
            for row in (reader := csv.DictReader(lines)):
                yield reader.line_num, row
            return
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise ConfigError(f"{path}, line {number} is not JSON: {error}") from error
            if not isinstance(row, dict):
                raise ConfigError(f"{path}, line {number} is not an object")
            yield number, row


def _example(row: Mapping[str, Any], manifest: Path, line: int, modality: Modality) -> Example:
    keys = TEXT_KEYS if modality == "text" else SOURCE_KEYS
    value = next((row[key] for key in keys if row.get(key)), None)
    if not isinstance(value, str):
        raise ConfigError(f"{manifest}, line {line} has no {' or '.join(keys)}, as {modality} items must")
    name = str(row.get("id") or (line if modality == "text" else value))
    label, group = (None if row.get(key) in (None, "") else str(row[key]) for key in ("label", "group"))
    if modality == "text":
        return Example(name, text=value, label=label, group=group)
    return Example(name, source=manifest.parent / value, label=label, group=group)

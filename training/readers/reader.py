"""What a dataset reader is, what it gives back, and how files are found in a local copy.

A reader is given the root of a local copy in its benchmark's own layout and gives `Dataset`s: examples by
modality, of which those with one `id` show the same thing and those with one `label` are of one class.
"""

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from connectors.errors import ConfigError, MissingFiles
from connectors.modality import Modality
from training.examples import Example

Examples = Mapping[Modality, Sequence[Example]]


@dataclass(frozen=True, slots=True)
class Dataset:
    """One benchmark, ready to embed.

    `classes` are the labels of zero-shot classification, in words, and `templates` the prompts made of
    them; without classes there is none.
    """

    name: str
    examples: Examples
    classes: Sequence[str] = ()
    templates: Sequence[str] = ("{}",)


@dataclass(frozen=True, slots=True)
class Reader:
    """How one benchmark is recognised and read. `layout` tells a person what has to be where."""

    layout: str
    recognises: Callable[[Path], bool]
    read: Callable[[Path], list[Dataset]]


def read_table(path: Path) -> list[dict[str, str]]:
    """Rows of a csv file with a header. Raises `MissingFiles` or `ConfigError`."""
    if not path.is_file():
        raise MissingFiles(f"{path} is not there")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return list(csv.DictReader(file))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not a UTF-8 table: {error}") from error


def read_json(path: Path) -> Any:
    """A JSON file. Raises `MissingFiles` or `ConfigError`."""
    if not path.is_file():
        raise MissingFiles(f"{path} is not there")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{path} is not JSON: {error}") from error


def files_by_stem(root: Path, suffixes: frozenset[str]) -> dict[str, Path]:
    """Files of these types below `root` by name without suffix; the first by path where two agree."""
    found: dict[str, Path] = {}
    for path in sorted(root.rglob("*")):
        if path.suffix.lower() in suffixes and path.is_file():
            found.setdefault(path.stem, path)
    return found


def first_of(root: Path, *names: str) -> Path | None:
    """The first of these paths below `root` that exists."""
    return next((root / name for name in names if (root / name).exists()), None)


def words(label: str) -> str:
    """A label in plain words: `night_stand` -> `night stand`."""
    return label.replace("_", " ").strip()


def in_use(examples: Sequence[Example]) -> tuple[str, ...]:
    """The labels that come in examples, sorted."""
    return tuple(sorted({example.label for example in examples if example.label}))

"""Manifests: one JSON object per line, each an item to ingest.

    {"path": "birds/robin.jpg", "id": "robin", "metadata": {"album": "garden"}}
    {"text": "a robin sings", "collection": "notes"}

Holds `ManifestLine`, the fields of a line, and `read_items`, which yields the lines from any `Position`, with
an error for each that is not valid.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError, model_validator

from service.errors import InvalidRequest
from service.schemas.fields import Collection, Metadata, ModalityName, PointId
from service.schemas.requests import Body
from service.schemas.validation import describe

LINE_BYTES = 1024 * 1024
"""Longest line."""
_BOM = b"\xef\xbb\xbf"

Named = Annotated[str, Field(min_length=1, max_length=1024)]


class ManifestLine(Body):
    """One item: a file or a text, and its id, metadata and so on."""

    path: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    text: str | None = None
    id: PointId | None = None
    metadata: Metadata | None = None
    modality: ModalityName | None = None
    collection: Collection | None = None
    name: Named | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> "ManifestLine":
        if (self.path is None) == (self.text is None):
            raise ValueError("give either path or text")
        if self.text is not None and self.modality not in (None, "text"):
            raise ValueError(f"a text's modality is text, not {self.modality}")
        return self


@dataclass(frozen=True, slots=True)
class Position:
    """A position between two lines: the numbers of bytes and of lines before it."""

    offset: int = 0
    line: int = 0


@dataclass(frozen=True, slots=True)
class Item:
    """One line as it was read, or the error in it; `name` is for messages."""

    name: str
    line: ManifestLine | InvalidRequest
    after: Position


def read_items(manifest: Path, start: Position) -> Iterator[Item]:
    """Yield the items of a manifest from a position; blank lines are skipped."""
    for content, after in _lines(manifest, start):
        name = f"line {after.line}"
        if content is None:
            yield Item(name, InvalidRequest(f"{name} is longer than {LINE_BYTES:,} bytes"), after)
            continue
        try:
            line = ManifestLine.model_validate_json(content)
        except ValidationError as error:
            message, _ = describe(error.errors(include_url=False, include_input=False))
            yield Item(name, InvalidRequest(f"{name}: {message}"), after)
        else:
            yield Item(line.name or line.path or line.id or name, line, after)


def count_items(manifest: Path) -> int:
    """Return the number of items that `read_items` yields."""
    return sum(1 for _ in _lines(manifest, Position()))


def write_paths(paths: Iterable[str], manifest: Path) -> None:
    """Write a manifest of these files, without ids or metadata."""
    with manifest.open("w", encoding="utf-8") as file:
        for path in paths:
            file.write(json.dumps({"path": path}) + "\n")


def _lines(manifest: Path, start: Position) -> Iterator[tuple[bytes | None, Position]]:
    """Yield every line that is not blank, None for one too long, and the position after it."""
    with manifest.open("rb") as file:
        file.seek(start.offset)
        number = start.line
        while line := file.readline(LINE_BYTES + 1):
            number += 1
            content: bytes | None = line.removeprefix(_BOM if number == 1 else b"").strip()
            if len(line) > LINE_BYTES:
                content = None
                while line and not line.endswith(b"\n"):
                    line = file.readline(LINE_BYTES)
            if content != b"":
                yield content, Position(file.tell(), number)

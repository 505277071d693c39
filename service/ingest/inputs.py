"""The parameters of ingest jobs, and the folders that keep what they were given for as long as they need it.

    FOLDER/*/manifest.jsonl   the items, one a line
    FOLDER/*/archive          what was uploaded
    FOLDER/*/archive.tar      the same, inflated

Holds `IngestParams` and `IngestInputs`. A folder is filled elsewhere, taken in whole and removed when its job
has ended.
"""

import asyncio
import shutil
from collections.abc import Mapping, Set
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from service.durable import sync_folder, sync_tree

MANIFEST = "manifest.jsonl"
ARCHIVE = "archive"
INFLATED = "archive.tar"


SourceKind = Literal["folder", "archive", "manifest"]


@dataclass(frozen=True, slots=True)
class IngestParams:
    """Where items come from and where they go.

    `path` is on the service's machine, None for what was uploaded; that has a `sha256`. `metadata` go with
    every item, and `input` names the folder of what the job was given.
    """

    source: SourceKind
    name: str
    path: str | None
    sha256: str | None
    collection: str
    metadata: Mapping[str, Any]
    input: str

    def as_json(self) -> dict[str, Any]:
        """The parameters as a job's record has them."""
        return asdict(self)


class IngestInputs:
    """Folders by name. `taking` is held while one is taken in and its job submitted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.taking = asyncio.Lock()

    def folder(self, name: str) -> Path:
        """Where a job's input is."""
        return self._folder / name

    def take(self, name: str, staged: Path, needed: Set[str]) -> None:
        """Move a filled folder in, durably, and remove those that no job needs any more."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for left in self._folder.iterdir():
            if left.name not in needed:
                shutil.rmtree(left, ignore_errors=True)
        sync_tree(staged)
        staged.rename(self.folder(name))
        sync_folder(self._folder)

    def remove(self, name: str) -> None:
        """Remove a job's input. Idempotent."""
        shutil.rmtree(self.folder(name), ignore_errors=True)

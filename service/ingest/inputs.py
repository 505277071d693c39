"""The parameters of ingest jobs, and the folders that keep their input for as long as they need it.

    FOLDER/*/manifest.jsonl   the items, one per line
    FOLDER/*/archive          the upload
    FOLDER/*/archive.tar      the same, inflated

Holds `IngestParams` and `IngestInputs`. A folder is filled elsewhere, moved in whole, and removed when its
job has ended.
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
    """The source and the destination of a job's items.

    `path` is on the service's machine, None for an upload, which has a `sha256`. `metadata` goes with every
    item, and `input` names the folder of the job's input.
    """

    source: SourceKind
    name: str
    path: str | None
    sha256: str | None
    collection: str
    metadata: Mapping[str, Any]
    input: str

    def as_json(self) -> dict[str, Any]:
        """Return the parameters as a job's record has them."""
        return asdict(self)


class IngestInputs:
    """Folders by name. `taking` is held while one is moved in and its job submitted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.taking = asyncio.Lock()

    def folder(self, name: str) -> Path:
        """Return the folder of a job's input."""
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

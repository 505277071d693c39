"""The folders that keep what ingest jobs were given, for as long as they may need it.

    FOLDER/*/manifest.jsonl   the items, one a line
    FOLDER/*/archive          what was uploaded
    FOLDER/*/archive.tar      the same, inflated

Holds `IngestInputs`. A folder is filled elsewhere, taken in whole and removed when its job has ended.
"""

import asyncio
import shutil
from collections.abc import Set
from pathlib import Path

from service.index.catalogue import sync_folder
from service.index.shard_copy import sync_tree

MANIFEST = "manifest.jsonl"
ARCHIVE = "archive"
INFLATED = "archive.tar"


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

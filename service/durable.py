"""Files that survive a power cut: written whole beside their place, synced, and renamed into it.

After a crash such a file is the former one or the new one, never half of either.
"""

import json
import os
import uuid
from pathlib import Path
from typing import Any


def write_file(path: Path, data: bytes, *, several_writers: bool = False) -> None:
    """Replace a file whole; it is on the disk when this returns.

    With `several_writers` each writes beside under a name of its own. Without, a name left over by a killed
    writer is used again.
    """
    staging = path.with_name(f".{path.name}.{uuid.uuid4().hex}" if several_writers else f".{path.name}.new")
    try:
        with staging.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        staging.replace(path)
    finally:
        staging.unlink(missing_ok=True)
    sync_folder(path.parent)


def write_json(path: Path, content: Any) -> None:
    """Replace a file by a JSON value, as `write_file` does."""
    write_file(path, json.dumps(content, indent=1).encode())


def sync_folder(folder: Path) -> None:
    """Sync a folder's own entries (new names, renames) to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Sync everything under a folder to the disk, names and contents."""
    for path in [folder, *folder.rglob("*"), folder.parent]:
        sync_folder(path)  # a file's contents are synced alike

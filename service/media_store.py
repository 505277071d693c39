"""The original bytes of what was uploaded, each content once, as files named by their sha256.

Holds `MediaStore`. A file is complete and on disk before its key is given out, so whatever the index refers
to is there after any crash.
"""

import hashlib
import os
import tempfile
from pathlib import Path

from service.errors import NotFound


class MediaStore:
    """Files below one directory. Safe from any thread and process."""

    def __init__(self, root: Path) -> None:
        self._root = root
        root.mkdir(parents=True, exist_ok=True)

    def put(self, data: bytes) -> str:
        """Keep bytes; gives their key. They survive a power cut when this returns."""
        key = hashlib.sha256(data).hexdigest()
        target = self._place(key)
        if target.exists():
            return key
        target.parent.mkdir(exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".new-", delete=False) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(file.name).replace(target)
        return key

    def path(self, key: str) -> Path:
        """The file with a key's bytes. Raises `NotFound`."""
        target = self._place(key)
        if not target.is_file():
            raise NotFound(f"the media {key} is not there any more", "id")
        return target

    def _place(self, key: str) -> Path:
        return self._root / key[:2] / key

"""Zip files of a scene and its parts: what is in them, and reading a part within the limits.

Holds `Archive`. The directory is counted before it is read, only what is stored plainly or deflated is
unpacked, and all that is unpacked together may not pass `max_bytes`, whatever the directory says.
"""

import re
import zipfile
from dataclasses import dataclass, field
from io import BytesIO
from typing import IO

from connectors.errors import MediaError
from connectors.media.source import Source

MOST_MEMBERS = 10_000
"""Files in one zip. The directory takes 1 kB of memory for each."""

DIRECTORY_ENTRY = b"PK\1\2"
LOCAL_HEADER = re.compile(rb"PK\x03\x04.{22}(..)..", re.DOTALL)
HEAD = 1 << 16


@dataclass(slots=True)
class Archive:
    """The files of a zip, by name, but for those that macOS adds of its own."""

    source: Source
    unpacked: int = 0
    members: dict[str, zipfile.ZipInfo] = field(init=False)
    _zip: zipfile.ZipFile = field(init=False)

    def __post_init__(self) -> None:
        count = self.source.data.count(DIRECTORY_ENTRY)
        if count > MOST_MEMBERS:
            raise self.source.too_large(f"{count:,} files in its zip", f"{MOST_MEMBERS:,}")
        try:
            self._zip = zipfile.ZipFile(BytesIO(self.source.data))
        except Exception as error:  # of many classes, as the damage has it
            raise self.source.invalid("is cut off or damaged: it is a zip without a directory") from error
        self.members = {
            entry.filename: entry
            for entry in self._zip.infolist()
            if not entry.filename.startswith("__MACOSX/")
        }

    def open(self, name: str) -> IO[bytes]:
        """Open a file of the zip, whose size counts as unpacked. Raises `InvalidMedia` if it cannot be."""
        entry = self.members.get(name)
        if entry is None:
            raise self.source.invalid(f"is a zip without {name}, which it refers to")
        if entry.flag_bits & 1:
            raise self.source.invalid("is a zip that is protected by a password")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise self.source.unsupported("is a zip with a compression that is not read; deflate it")
        self.unpacked += entry.file_size
        if self.unpacked > self.source.limits.max_bytes:
            raise self.source.too_large(
                f"{self.unpacked:,} bytes in its zip", f"{self.source.limits.max_bytes:,}"
            )
        return self._zip.open(entry)

    def read(self, name: str) -> bytes:
        """Return the bytes of a file of the zip. Raises `InvalidMedia` where they are damaged."""
        with self.open(name) as member:
            return member.read()


def archive_kind(data: bytes) -> str | None:
    """Return the MIME type of what a zip holds, by the names in it; None if it is nothing that is read.

    Of a zip without its directory, one that was cut off or the start of one, the first names tell.
    """
    try:
        names = list(Archive(Source(data)).members)
    except MediaError:
        names = [
            data[found.end() : found.end() + int.from_bytes(found[1], "little")].decode("utf-8", "replace")
            for found in LOCAL_HEADER.finditer(data, 0, HEAD)
        ]
    names = [name.lower() for name in names]
    if any(name.startswith("3d/") and name.endswith(".model") for name in names):
        return "model/3mf"
    if any(name.endswith(".gltf") for name in names):
        return "model/gltf+zip"
    return "application/x-npz" if names and all(name.endswith(".npy") for name in names) else None

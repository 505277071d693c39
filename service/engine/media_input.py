"""One item of a request: not yet read, not yet decoded.

Holds `MediaInput`, made from multipart files, base64 or plain text, for the engine.
"""

import hashlib
from typing import BinaryIO

from connectors.errors import MediaError
from connectors.media import sniff
from connectors.modality import Modality

HEAD_BYTES = 4096
"""Bytes that tell most formats apart."""


class MediaInput:
    """Media given as a text, as bytes in memory, or as an open file (a spooled upload) of `size` bytes.

    `name` is for messages and a format hint: its `filename`, where it has one, or its place in the request.
    `modality` is set where the request named it. It is read and hashed once, at first need. For one thread at
    a time.
    """

    __slots__ = (
        "_data",
        "_file",
        "_sha256",
        "content_type",
        "filename",
        "is_text",
        "modality",
        "name",
        "size",
    )

    def __init__(
        self,
        content: bytes | BinaryIO,
        size: int,
        name: str,
        content_type: str | None = None,
        modality: Modality | None = None,
        filename: str | None = None,
    ) -> None:
        self.name = name
        self.size = size
        self.content_type = content_type
        self.modality = modality
        self.filename = filename
        self.is_text = False
        self._file = None if isinstance(content, bytes) else content
        self._data = content if isinstance(content, bytes) else None
        self._sha256: str | None = None

    @classmethod
    def text(cls, text: str, name: str, filename: str | None = None) -> "MediaInput":
        """Return the input of a plain text."""
        data = text.encode("utf-8", "surrogatepass")
        item = cls(data, len(data), name, "text/plain", "text", filename)
        item.is_text = True
        return item

    def read(self) -> bytes:
        """Return all its bytes. A file is read from its start: not for the event loop then."""
        if self._data is None:
            assert self._file is not None  # it is one or the other
            self._file.seek(0)
            self._data = self._file.read()
        return self._data

    def sha256(self) -> str:
        """Return the sha256 of its bytes, in hexadecimal."""
        if self._sha256 is None:
            self._sha256 = hashlib.sha256(self.read()).hexdigest()
        return self._sha256

    def likely_modality(self) -> Modality | None:
        """Return the modality its first bytes suggest, or None: for choosing a queue, not for decoding."""
        if self.modality is not None or self.is_text:
            return self.modality or "text"
        if self._data is not None:
            head = self._data[:HEAD_BYTES]
        else:
            assert self._file is not None  # as above
            self._file.seek(0)
            head = self._file.read(HEAD_BYTES)
        try:
            return sniff(head, self.name, self.content_type).modality
        except MediaError:
            return None

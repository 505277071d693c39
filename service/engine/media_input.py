"""One item as a request brings it: not yet read, not yet decoded.

Holds `MediaInput`, made by the routes from multipart files, base64 or plain text, and given to the engine.
"""

from dataclasses import dataclass, field
from typing import BinaryIO

from connectors.errors import MediaError
from connectors.media import sniff
from connectors.modality import Modality

HEAD_BYTES = 4096
"""As much as tells most formats apart."""


@dataclass(frozen=True, slots=True, eq=False)
class MediaInput:
    """`content` is text, bytes in memory, or an open file (a spooled upload).

    `name` is what messages call it and a format hint: its `filename`, where it has one, or its place in the
    request. `modality` is set where the request said it.
    """

    content: str | bytes | BinaryIO = field(repr=False)
    size: int
    name: str
    content_type: str | None = None
    modality: Modality | None = None
    filename: str | None = None

    @classmethod
    def text(cls, text: str, name: str) -> "MediaInput":
        """A plain text."""
        return cls(text, len(text.encode("utf-8", "surrogatepass")), name, "text/plain", "text")

    def read(self) -> bytes:
        """All its bytes. Reads a file from its start; not for the event loop."""
        if isinstance(self.content, str):
            return self.content.encode("utf-8", "surrogatepass")
        if isinstance(self.content, bytes):
            return self.content
        self.content.seek(0)
        return self.content.read()

    def likely_modality(self) -> Modality | None:
        """What its first bytes make of it, or None: for choosing a queue, not for decoding."""
        if self.modality is not None or isinstance(self.content, str):
            return self.modality or "text"
        if isinstance(self.content, bytes):
            head = self.content[:HEAD_BYTES]
        else:
            self.content.seek(0)
            head = self.content.read(HEAD_BYTES)
        try:
            return sniff(head, self.name, self.content_type).modality
        except MediaError:
            return None

"""One undecoded item: its bytes, what to call it, and the limits it is held to.

Holds `Source`, which `decode` makes and every reader is given. It words the errors, so that all of
them name the item, and turns whatever a third-party decoder raises into `InvalidMedia`.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from connectors.errors import InvalidMedia, MediaError, MediaTooLarge, UnsupportedMedia
from connectors.media.limits import DEFAULT_LIMITS, Limits

LONGEST_NAME = 120
LONGEST_REASON = 200


@dataclass(frozen=True, slots=True)
class Source:
    """Bytes to decode, with `name` as the user knows them (a file name, never opened)."""

    data: bytes = field(repr=False)
    name: str | None = None
    limits: Limits = DEFAULT_LIMITS

    @property
    def label(self) -> str:
        """The item's name in messages."""
        if not self.name:
            return "the item"
        printable = "".join(c if c.isprintable() else "?" for c in self.name)
        return printable if len(printable) <= LONGEST_NAME else printable[:LONGEST_NAME] + "..."

    def invalid(self, reason: str) -> InvalidMedia:
        """The error for a damaged, empty or degenerate item: `<label> <reason>`."""
        return InvalidMedia(f"{self.label} {reason}")

    def too_large(self, what: str, limit: str) -> MediaTooLarge:
        """The error for passing a limit: `<label> has <what>; the limit is <limit>`."""
        return MediaTooLarge(f"{self.label} has {what}; the limit is {limit}")

    def unsupported(self, reason: str) -> UnsupportedMedia:
        """The error for an item that may well be good, but is of a kind not read here: `<label> <reason>`."""
        return UnsupportedMedia(f"{self.label} {reason}")

    def check_bytes(self) -> None:
        """Raise `InvalidMedia` if the item is empty, `MediaTooLarge` past `max_bytes`."""
        if not self.data:
            raise self.invalid("is empty")
        if len(self.data) > self.limits.max_bytes:
            raise self.too_large(f"{len(self.data):,} bytes", f"{self.limits.max_bytes:,}")

    def check_points(self, count: int) -> None:
        """Raise `MediaTooLarge` if `count` points or vertices are too many."""
        if count > self.limits.max_points:
            raise self.too_large(f"{count:,} points", f"{self.limits.max_points:,}")

    def check_faces(self, count: int) -> None:
        """Raise `MediaTooLarge` if `count` triangles are too many."""
        if count > self.limits.max_faces:
            raise self.too_large(f"{count:,} triangles", f"{self.limits.max_faces:,}")

    def check_mesh_text(self) -> None:
        """Raise `MediaTooLarge` past `max_mesh_text`; for a mesh whose rows are lines of text."""
        if len(self.data) > self.limits.max_mesh_text:
            raise self.too_large(f"{len(self.data):,} bytes of text", f"{self.limits.max_mesh_text:,}")

    @contextmanager
    def reading(self, form: str) -> Iterator[None]:
        """Translate anything a decoder raises in this block into `InvalidMedia`.

        `form` completes "cannot be read as ...". Rust decoders panic with a class that derives
        from `BaseException` only, which is why that is caught; requests to stop pass through.
        """
        try:
            yield
        except (MediaError, KeyboardInterrupt, SystemExit, GeneratorExit):
            raise
        except BaseException as error:
            raise self.invalid(f"cannot be read as {form}: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    """First line of the message, without object addresses, or the class name if it has none."""
    text = re.sub(r"<[\w.]+ object at 0x[0-9a-f]+>", "the file", str(error)).strip()
    if not text:
        return type(error).__name__
    return text.splitlines()[0][:LONGEST_REASON].rstrip(" :")

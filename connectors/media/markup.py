"""XML of scenes, read so that it can do no harm.

Holds `parse`. A document type is refused, and with it every entity, whether it is a bomb or names a file;
elements are counted, and how deep they are inside one another.
"""

from collections.abc import Callable
from typing import Protocol
from xml.parsers import expat

from connectors.media.source import Source

MOST_ELEMENTS = 2_000_000
"""Of one document; as a tree each takes 200 bytes."""

DEEPEST_ELEMENT = 200


class Target(Protocol):
    """A receiver of a document's parts, in their order. Names are `namespace}name`, or plain."""

    def start(self, tag: str, attrs: dict[str, str], /) -> object: ...  # noqa: D102
    def end(self, tag: str, /) -> object: ...  # noqa: D102
    def data(self, data: str, /) -> object: ...  # noqa: D102


def parse(
    source: Source, data: bytes, target: Target, namespace: Callable[[str, str], None] | None = None
) -> None:
    """Tell `target` of all that `data` holds, and `namespace` of the prefixes it declares.

    Raises `InvalidMedia` if it is no XML or has a document type, `MediaTooLarge` past the limits above.
    """
    elements = depth = 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal elements, depth
        elements, depth = elements + 1, depth + 1
        if elements > MOST_ELEMENTS:
            raise source.too_large("too many elements of XML", f"{MOST_ELEMENTS:,}")
        if depth > DEEPEST_ELEMENT:
            raise source.too_large("too many elements of XML inside one another", f"{DEEPEST_ELEMENT}")
        target.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        target.end(tag)

    def refuse(*_: object) -> None:
        raise source.invalid("has a document type in its XML, which is not read")

    parser = expat.ParserCreate(namespace_separator="}")
    parser.buffer_text, parser.buffer_size = True, 1 << 16
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = target.data
    if namespace is not None:
        parser.StartNamespaceDeclHandler = namespace
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, LookupError) as error:  # the latter of an unknown encoding
        line = getattr(error, "lineno", 1)
        raise source.invalid(
            f"is cut off or damaged: its XML cannot be read from line {line:,} on"
        ) from error

"""Containers of glTF scenes: glb, gltf with its buffers embedded, and gltf with its files in a zip.

Given a `Source`, back comes one `Geometry`; `gltf_scene` makes it of the parts found here. Textures are
passed over, and no file is opened but those of the same zip. Format: Khronos glTF 2.0, sections 2 and 4.
"""

import binascii
import json
import posixpath
import re
import struct
from urllib.parse import unquote

from connectors.media.archive import Archive
from connectors.media.geometry import Geometry
from connectors.media.gltf_document import Document, Json
from connectors.media.gltf_scene import read_scene
from connectors.media.source import Source

LONGEST_JSON = 8 * 1024 * 1024
"""Bytes, less what is embedded. Parsed, JSON takes up to 30 times its room."""

EMBEDDED = re.compile(rb'"data:[^"]*"')
"""A file inside the JSON. It is taken out before the rest is parsed."""


def read_glb(source: Source) -> Geometry:
    """The triangles of the default scene in its own coordinates; a scene of points is a cloud."""
    if len(source.data) < 20:
        raise source.invalid("is cut off: it ends in its header")
    _, version, length = struct.unpack_from("<4sII", source.data)
    if version != 2:
        raise source.unsupported(f"is glTF {version}, which is not read; save it as glTF 2")
    if length > len(source.data):
        raise source.invalid(f"is cut off: {length - len(source.data):,} bytes are missing")
    chunks: dict[bytes, bytes] = {}
    position = 12
    while position + 8 <= length and len(chunks) < 2:
        size, kind = struct.unpack_from("<I4s", source.data, position)
        chunks.setdefault(kind, source.data[position + 8 : position + 8 + size])
        position += 8 + size
    if b"JSON" not in chunks:
        raise source.invalid("is damaged: its JSON is missing")
    parts = _Parts(source, chunks.get(b"BIN\0"))
    return read_scene(parts.document(chunks[b"JSON"]))


def read_gltf(source: Source) -> Geometry:
    """As `read_glb`, of JSON with its buffers in it, in base64."""
    return read_scene(_Parts(source).document(source.data))


def read_gltf_zip(source: Source) -> Geometry:
    """As `read_glb`, of a zip with one gltf file and the buffers that it names."""
    archive = Archive(source)
    scenes = [n for n in archive.members if n.lower().endswith(".gltf") and posixpath.basename(n)[0] != "."]
    if len(scenes) != 1:
        raise source.invalid(f"is a zip with {len(scenes)} gltf files; one is needed")
    return read_scene(
        _Parts(source, None, archive, posixpath.dirname(scenes[0])).document(archive.read(scenes[0]))
    )


class _Parts:
    """The buffers of a document: in it, in its container, or beside it in a zip."""

    def __init__(
        self, source: Source, binary: bytes | None = None, archive: Archive | None = None, folder: str = ""
    ) -> None:
        self._source, self._binary, self._archive, self._folder = source, binary, archive, folder
        self._embedded: list[bytes] = []

    def document(self, text: bytes) -> Document:
        """Return the document. What is embedded in its JSON is kept as it is until it is asked for."""

        def keep(found: re.Match[bytes]) -> bytes:
            self._embedded.append(found[0][1:-1])
            return b'"data:%d"' % (len(self._embedded) - 1)

        text = EMBEDDED.sub(keep, text)
        if len(text) > LONGEST_JSON:
            raise self._source.too_large(f"{len(text):,} bytes of JSON", f"{LONGEST_JSON:,}")
        try:
            parsed = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise self._source.invalid("is cut off or damaged: its JSON cannot be read") from error
        if not isinstance(parsed, dict):
            raise self._source.invalid("is damaged: its JSON is not an object")
        return Document(self._source, parsed, self._buffer)

    def _buffer(self, number: int, buffer: Json) -> bytes:
        """Return the bytes of a buffer."""
        uri = buffer.get("uri")
        if uri is None:
            if number != 0 or self._binary is None:
                raise self._source.invalid("is damaged or cut off: it has no binary part")
            return self._binary
        if uri.startswith("data:"):
            head, _, body = self._embedded[int(uri[5:])].partition(b",")
            if not head.endswith(b";base64"):
                raise self._source.invalid("is damaged: a buffer is not in base64")
            return binascii.a2b_base64(body.replace(b"\\/", b"/"))
        if self._archive is None:
            raise self._source.invalid(
                "keeps its data in another file; send both in one zip, or export it as glb"
            )
        return self._archive.read(posixpath.normpath(posixpath.join(self._folder, unquote(uri))))

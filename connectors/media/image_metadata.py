"""A picture file's contents beside its pixels: the EXIF orientation, and files without the rest.

Metadata is an aid. Where a decoder refuses a file for it, `without_metadata` gives the file
without, to be tried again; no damage there refuses a picture.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from typing import Any

from PIL import ExifTags, Image

from connectors.media import image_tiff, image_webp

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""The turn that brings a picture of each EXIF orientation upright (CIPA DC-008, 4.6.5)."""

LARGEST_PROFILE = 2**20
"""Bytes an ICC profile of a PNG may unpack to; Pillow's own bound."""


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """Return the picture turned as its EXIF orientation says."""
    turn = TURNS.get(orientation)
    return image if turn is None else image.transpose(turn)


def exif_orientation(info: dict[str | tuple[int, int], Any]) -> int:
    """Return the orientation in the EXIF block of Pillow's `info`; 1 if there is none or it is damaged.

    Pillow's own `exif_transpose` would also heed XMP, which is an editor's note and often stale.
    """
    block = info.get("exif")
    try:
        if block is None and "Raw profile type exif" in info:  # ImageMagick's way in a PNG
            block = bytes.fromhex("".join(info["Raw profile type exif"].split("\n")[3:]))
        if not isinstance(block, bytes):
            return 1
        exif = Image.Exif()
        exif.load(block)
        found = exif.get(ExifTags.Base.Orientation, 1)
    except Exception:  # whatever a damaged block makes of its parser
        return 1
    return found if isinstance(found, int) else 1


def without_metadata(data: bytes, mime: str) -> bytes | None:
    """Return the file without the metadata that may be damaged, None if there is nothing to leave out."""
    clean = {
        "image/png": _clean_png,
        "image/jpeg": _clean_jpeg,
        "image/webp": image_webp.without_metadata,
        "image/tiff": image_tiff.without_notes,
        "image/jp2": _clean_jpeg2000,
        "image/avif": _clean_boxes,
        "image/heic": _clean_boxes,
        "image/heif": _clean_boxes,
    }.get(mime)
    if clean is None:
        return None
    cleaned = clean(data)
    return None if cleaned == data else cleaned


def _clean_png(data: bytes) -> bytes:
    """Leave out ancillary chunks but the sound ones that change the picture (PNG, section 5)."""
    kept = [data[:8]]
    grey_or_rgb = {0: 2, 2: 6}
    for kind, start, end in _png_chunks(data):
        body = data[start + 8 : end - 4]
        if kind[0] & 0x20:
            crc = data[end - 4 : end]
            if crc != zlib.crc32(kind + body).to_bytes(4, "big"):
                continue
            if kind == b"tRNS" and len(body) < grey_or_rgb.get(data[25], 0):
                continue
            if kind == b"iCCP" and not _unpacks(body):
                continue
            if kind not in (b"tRNS", b"iCCP", b"eXIf"):
                continue
        kept.append(data[start:end])
    return b"".join(kept)


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Each chunk's type, where it starts, and where it ends; the last may end past the file."""
    at = 8
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        yield kind, at, at + size + 12
        at += size + 12


def _unpacks(body: bytes) -> bool:
    """Return whether the profile of an iCCP chunk can be unpacked."""
    _, _, packed = body.partition(b"\0")
    try:
        unpacking = zlib.decompressobj()
        unpacking.decompress(packed[1:], LARGEST_PROFILE)
    except zlib.error:
        return False
    return packed[:1] == b"\0" and not unpacking.unconsumed_tail


def _clean_jpeg(data: bytes) -> bytes:
    """Leave out application segments and comments but those that change the picture (T.81, B.2.4)."""
    kept = [data[:2]]
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        marker, end = data[at + 1], at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        body = data[at + 4 : end]
        needed = (
            (marker == 0xE1 and body.startswith(b"Exif\0\0"))
            or (marker == 0xE2 and body.startswith(b"ICC_PROFILE\0") and len(body) > 14)
            or (marker == 0xEE and body.startswith(b"Adobe") and len(body) >= 12)
        )
        if needed or not (0xE0 <= marker <= 0xEF or marker == 0xFE):
            kept.append(data[at:end])
        at = end
    kept.append(data[at:])
    return b"".join(kept)


def _clean_boxes(data: bytes) -> bytes:
    """Give Exif and XMP items a type that nobody reads (ISO/IEC 14496-12, 8.11.6)."""
    return re.sub(rb"(infe[\x02\x03].{3}(?:..){2,3})(?:Exif|mime)", rb"\1none", data, flags=re.DOTALL)


def _clean_jpeg2000(data: bytes) -> bytes:
    """Give the resolution box of the header a type that nobody reads (ITU-T T.800, I.5.3.7)."""
    head, codestream, rest = data.partition(b"jp2c")
    return head.replace(b"res ", b"free") + codestream + rest

"""Variants of the formats that are read which no decoder here reads: they are not damaged.

Holds `unread_variant`, which is asked about a file that its decoder refused.
"""

import re
import struct
from io import BytesIO

from PIL import TiffImagePlugin

from connectors.media.image_kinds import RAW
from connectors.media.image_tiff import as_classic


def unread_variant(data: bytes, mime: str) -> str | None:
    """Return what kind of its format a picture is, if that kind is not read; None if it is damaged."""
    if mime == "image/x-canon-cr3":
        return RAW
    look = {
        "image/jpeg": _jpeg, "image/png": _png, "image/tiff": _tiff, "image/bmp": _bmp,
        "image/jp2": _jpeg2000, "image/avif": _boxed, "image/heic": _boxed, "image/heif": _boxed,
    }.get(mime)  # fmt: skip
    return look(data) if look is not None else None


FRAMES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
"""Markers that begin a frame (ITU-T T.81, table B.1; F7: ITU-T T.87)."""


def _jpeg(data: bytes) -> str | None:
    """Look at the frame header: coding process, bits and components (ITU-T T.81, B.2.2)."""
    at = 2
    while at + 10 <= len(data) and data[at] == 0xFF and data[at + 1] not in FRAMES:
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    if at + 10 > len(data) or data[at] != 0xFF:
        return None
    process, bits, components = data[at + 1], data[at + 4], data[at + 9]
    if process == 0xF7:
        return "a JPEG-LS picture"
    if process in (0xC3, 0xC7, 0xCB, 0xCF):
        return "a lossless JPEG"
    if process in (0xC5, 0xC6, 0xCD, 0xCE):
        return "a hierarchical JPEG"
    if bits != 8 and 2 <= bits <= 16:
        return f"a JPEG of {bits} bits a sample"
    return f"a JPEG of {components} components" if components in (2, 5, 6, 7, 8) else None


def _png(data: bytes) -> str | None:
    """Look at the first chunk: Xcode writes PNGs of its own, without checksums."""
    return "an Apple-optimised PNG (CgBI)" if data[12:16] == b"CgBI" else None


def _tiff(data: bytes) -> str | None:
    """Look at the first directory: samples and compression (TIFF 6.0, section 8)."""
    try:
        data = as_classic(data)
        tags = TiffImagePlugin.ImageFileDirectory_v2(data[: 16 if data[2] == 43 else 8])
        file = BytesIO(data)
        file.seek(tags.next)
        tags.load(file)
        bits, compression = tags.get(258, (1,)), tags.get(259, 1)
        samples, form = tags.get(277, 1), tags.get(339, (1,))
        if not tags.get(256) or not tags.get(257):
            return None
        layout = (tags.prefix, tags.get(262, 0), form[:1], tags.get(266, 1), bits, tags.get(338, ()))
        if compression not in TiffImagePlugin.COMPRESSION_INFO and 0 < compression < 65_536:
            return f"a TIFF of compression {int(compression)}"
        if layout in TiffImagePlugin.OPEN_INFO or not 0 < bits[0] <= 64:
            return None
        kind = {2: "signed", 3: "float", 5: "complex", 6: "complex"}.get(form[0], "unsigned")
        return f"a TIFF of {int(samples)} x {int(bits[0])}-bit {kind} samples a pixel"
    except Exception:  # a damaged directory says nothing about its kind
        return None


def _bmp(data: bytes) -> str | None:
    """Look at bits and compression: a printer's JPEG or PNG, for example (Windows BITMAPINFOHEADER)."""
    if len(data) < 34 or data[14] == 12:
        return None
    bits, compression = struct.unpack_from("<HI", data, 28)
    if compression > 3 and compression < 16:
        return f"a BMP of compression {compression}"
    return f"a BMP of {bits} bits a pixel" if bits in (2, 64) else None


OTHER_CODINGS = {
    b"vvc1": "VVC",
    b"evc1": "EVC",
    b"avc1": "H.264",
    b"jpeg": "JPEG",
    b"j2k1": "JPEG 2000",
    b"unci": "plain numbers",
}


def _boxed(data: bytes) -> str | None:
    """Look at the types of the items (ISO/IEC 14496-12, 8.11.6; 23008-12, annexes B, H, L)."""
    types = re.findall(rb"infe[\x02\x03].{3}(?:..){2,3}?(vvc1|evc1|avc1|jpeg|j2k1|unci)", data, re.DOTALL)
    return f"a HEIF picture coded as {OTHER_CODINGS[types[0]]}" if types else None


def _jpeg2000(data: bytes) -> str | None:
    """Look at the number of components (ITU-T T.800, A.5.1)."""
    at = data.find(b"\xff\x4f\xff\x51")
    if at < 0 or at + 42 > len(data):
        return None
    components = int.from_bytes(data[at + 40 : at + 42], "big")
    return f"a JPEG 2000 picture of {components} components" if 4 < components < 1000 else None

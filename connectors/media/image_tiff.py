"""Preparations that a TIFF needs before and while Pillow reads it.

Source: TIFF 6.0, section 2; the BigTIFF design of libtiff, whose words are 8 bytes wide.
"""

import struct

from PIL import Image, TiffImagePlugin

ORIENTATION, SUBFILE_TYPE, SUB_DIRECTORIES, DNG_VERSION = 274, 254, 330, 50706
NOTES = {269, 270, 271, 272, 282, 283, 285, 296, 305, 306, 315, 316, 700, 33432, 33723, 34377, 34665, 34853}
"""Tags that change no pixel: descriptions, resolution, XMP, IPTC, Photoshop's, EXIF, GPS."""
UNKNOWN_TAG = 65_000

SIZES = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}
"""Bytes of one value, by type."""


def as_classic(data: bytes) -> bytes:
    """Return a big-endian BigTIFF with its first directory as a TIFF's; others as they are.

    Pillow takes the former for a TIFF with a 4-byte offset. Of files within the limits every offset
    fits in 4 bytes. Raises `ValueError` or `struct.error` if the directory is damaged.
    """
    if data[:4] != b"MM\0\x2b":
        return data
    start = struct.unpack_from(">Q", data, 8)[0]
    count = struct.unpack_from(">Q", data, start)[0]
    if start + 8 + 20 * count > len(data):
        raise ValueError("the directory passes the end of the file")
    entries, values = b"", bytearray()
    first = len(data) + len(data) % 2
    behind = first + 2 + 12 * count + 4
    for at in range(start + 8, start + 8 + 20 * count, 20):
        tag, kind, number = struct.unpack_from(">HHQ", data, at)
        size = SIZES.get(kind, 1) * number
        where = at + 12 if size <= 8 else struct.unpack_from(">Q", data, at + 12)[0]
        if where + size > len(data):
            continue  # as Pillow does with a damaged entry
        value = data[where : where + size]
        if kind in (16, 17, 18):
            value = struct.pack(f">{number}I", *struct.unpack(f">{number}Q", value))
            kind = 4
        if len(value) > 4:
            where = behind + len(values)
            values += value + bytes(len(value) % 2)
            value = struct.pack(">I", where)
        entries += struct.pack(">HHI", tag, kind, number) + value.ljust(4, b"\0")
    directory = struct.pack(">H", len(entries) // 12) + entries
    head = b"MM\0\x2a" + struct.pack(">I", first)
    return b"".join((head, data[8:].ljust(first - 8, b"\0"), directory.ljust(behind - first, b"\0"), values))


def take_orientation(image: TiffImagePlugin.TiffImageFile) -> None:
    """Leave Pillow the orientation of the first directory, and no more, to turn the picture by.

    While it loads a TIFF it turns it by that or else by XMP, and reads directories of EXIF and GPS
    that may be damaged: all of which it takes from `info` if there is a block.
    """
    exif = Image.Exif()
    given = image.tag_v2.get(ORIENTATION)
    exif[ORIENTATION] = given if given in range(1, 9) else 1
    image.info["exif"] = exif.tobytes()


def is_raw(image: TiffImagePlugin.TiffImageFile) -> bool:
    """Return whether a camera wrote it: DNG, or a first picture that is the thumbnail of others."""
    tags = image.tag_v2
    return DNG_VERSION in tags or bool(int(tags.get(SUBFILE_TYPE, 0)) & 1 and SUB_DIRECTORIES in tags)


def without_notes(data: bytes) -> bytes:
    """Give the notes of the first directory a tag that nobody reads."""
    order = "<" if data[:2] == b"II" else ">"
    out = bytearray(data)
    try:
        if data[2:4] in (b"\x2b\0", b"\0\x2b"):
            at, width, head = struct.unpack_from(f"{order}Q", data, 8)[0], 20, "Q"
        else:
            at, width, head = struct.unpack_from(f"{order}I", data, 4)[0], 12, "H"
        count = struct.unpack_from(order + head, data, at)[0]
        at += struct.calcsize(head)
        for entry in range(at, min(at + count * width, len(data) - width + 1), width):
            if struct.unpack_from(f"{order}H", data, entry)[0] in NOTES:
                struct.pack_into(f"{order}H", out, entry, UNKNOWN_TAG)
    except (struct.error, OverflowError):  # no directory: nothing to leave out
        return data
    return bytes(out)

"""Metadata turns a picture by EXIF alone, and damaged it refuses none."""

import struct
import zlib

import numpy as np
import pytest
import samples
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from connectors.errors import InvalidMedia
from connectors.media import decode

XMP = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'


def pixels(data, **options):
    return np.asarray(decode("image", data, **options)).astype(int)


def chunk(kind: bytes, body: bytes, crc: int | None = None) -> bytes:
    crc = zlib.crc32(kind + body) if crc is None else crc
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)


def png_with(*chunks: bytes, behind: bool = False) -> bytes:
    """A picture with chunks behind its header, or before its end."""
    data = samples.file("image", "a.png")
    at = len(data) - 12 if behind else 33
    return data[:at] + b"".join(chunks) + data[at:]


def exif(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


def tagged(form: str, **options) -> bytes:
    if form == "PNG" and "xmp" in options:
        info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", options.pop("xmp").decode())
        options["pnginfo"] = info
    return samples.image_file(samples.picture(), form, **options)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF", "HEIF"])
def test_xmp_turns_no_picture(form):
    options = {"tiffinfo": {700: XMP}} if form == "TIFF" else {"xmp": XMP}
    if form == "HEIF":  # whose writer makes a turn of the format itself of it
        data = tagged(form, xmp=XMP.replace(b"6", b"1")).replace(XMP.replace(b"6", b"1"), XMP)
    else:
        data = tagged(form, **options)
    assert (b"Orientation" in data, decode("image", data).size) == (True, (64, 48))


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF", "HEIF"])
def test_exif_turns_a_picture_of_every_format_whatever_xmp_says(form):
    options = {"tiffinfo": {700: XMP, 274: 8}} if form == "TIFF" else {"exif": exif(8), "xmp": XMP}
    turned = pixels(tagged(form, **options))
    want = np.asarray(samples.picture().transpose(Image.Transpose.ROTATE_90)).astype(int)
    assert turned.shape == want.shape
    assert np.abs(turned - want).mean() < 8


BOMB = b"Comment\0\0" + zlib.compress(bytes(2_000_000))
DAMAGED_CHUNKS = {
    "text, wrong checksum": chunk(b"tEXt", b"Title\0a dog", crc=1),
    "compressed text, wrong method": chunk(b"zTXt", b"Comment\0\7" + zlib.compress(b"x")),
    "compressed text, 2 MB unpacked": chunk(b"zTXt", BOMB),
    "international text, 2 MB unpacked": chunk(
        b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress(bytes(2_000_000))
    ),
    "70 MB of texts": chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"x" * 1_000_000)) * 70,
    "EXIF, wrong checksum": chunk(b"eXIf", exif(6), crc=1),
    "EXIF, no TIFF header": chunk(b"eXIf", b"nothing of the kind"),
    "EXIF, cut off": chunk(b"eXIf", b"MM\0\x2a\0\0"),
    "EXIF, empty": chunk(b"eXIf", b""),
    "EXIF of ImageMagick, not hexadecimal": chunk(
        b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n 4\nzz")
    ),
    "gamma of 2 bytes": chunk(b"gAMA", b"\0\1"),
    "resolution of 3 bytes": chunk(b"pHYs", b"\0\0\1"),
    "resolution, wrong checksum": chunk(b"pHYs", b"\0\0\1\0\0\0\1\0\1", crc=1),
    "chromaticity of 5 bytes": chunk(b"cHRM", b"12345"),
    "rendering intent of no byte": chunk(b"sRGB", b""),
    "profile of another compression": chunk(b"iCCP", b"p\0\3abc"),
    "profile that does not unpack": chunk(b"iCCP", b"p\0\0abc"),
    "profile of 2 MB": chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(2_000_000))),
    "profile without a name's end": chunk(b"iCCP", b"p"),
    "animation control of 2 bytes": chunk(b"acTL", b"\0\1"),
    "frame control of 2 bytes": chunk(b"fcTL", b"\0\1"),
    "transparency of 1 byte": chunk(b"tRNS", b"\0"),
    "an unknown chunk, wrong checksum": chunk(b"abCd", b"xyz", crc=1),
}


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("name", DAMAGED_CHUNKS)
@pytest.mark.filterwarnings("ignore")  # Pillow warns of some
def test_a_png_with_a_damaged_ancillary_chunk_is_the_picture(name, behind):
    if behind and name == "EXIF, wrong checksum":
        pytest.skip("Pillow does not look at checksums behind the pixels")
    found = pixels(png_with(DAMAGED_CHUNKS[name], behind=behind))
    assert (found == np.asarray(samples.picture())).all()


def test_sound_chunks_count_where_others_are_damaged():
    data = png_with(chunk(b"eXIf", exif(6)[6:]), chunk(b"tEXt", b"Title\0a dog", crc=1))
    assert decode("image", data).size == (48, 64)
    cutout = samples.image_file(samples.picture(), "PNG", transparency=(255, 0, 0))
    at = cutout.index(b"IDAT") - 4
    damaged = cutout[:at] + chunk(b"gAMA", b"\0") + cutout[at:]
    assert pixels(damaged)[0, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize("kind", [b"IHDR", b"PLTE"])
def test_a_png_with_a_damaged_critical_chunk_is_invalid(kind):
    data = bytearray(samples.image_file(samples.picture().convert("P"), "PNG"))
    data[data.index(kind) + 5] ^= 1
    with pytest.raises(InvalidMedia, match="damaged"):
        decode("image", bytes(data))


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


DAMAGED_SEGMENTS = {
    "JFIF of 5 bytes": segment(0xE0, b"JFIF\0"),
    "Adobe of 6 bytes": segment(0xEE, b"Adobe\0"),
    "EXIF without a directory": segment(0xE1, b"Exif\0\0nothing of the kind"),
    "EXIF cut off": segment(0xE1, b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x09\x01\x12"),
    "EXIF of a directory behind its end": segment(0xE1, b"Exif\0\0II\x2a\0\xff\xff\0\0"),
    "a profile without a number": segment(0xE2, b"ICC_PROFILE\0"),
    "a profile of which a part is missing": segment(0xE2, b"ICC_PROFILE\0\x01\x02" + bytes(200)),
    "a profile of zeros": segment(0xE2, b"ICC_PROFILE\0\x01\x01" + bytes(200)),
    "Photoshop's resources, cut off": segment(0xED, b"Photoshop 3.0\x008BIM\x03\xed"),
    "MPF without a directory": segment(0xE2, b"MPF\0nothing"),
    "a comment of nothing": segment(0xFE, b""),
}


@pytest.mark.parametrize("name", DAMAGED_SEGMENTS)
@pytest.mark.filterwarnings("ignore")
def test_a_jpeg_with_damaged_metadata_is_the_picture(name):
    data = samples.file("image", "a.jpg")
    found = pixels(data[:2] + DAMAGED_SEGMENTS[name] + data[2:])
    assert (found == pixels(data)).all()


@pytest.mark.parametrize("damage", [b"nothing of the kind", b"II\x2a\0\xff\xff\0\0", b"MM", b""])
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "AVIF", "HEIF"])
@pytest.mark.filterwarnings("ignore")
def test_damaged_exif_refuses_no_picture(form, damage):
    tags = Image.Exif()
    tags[0x010F] = "a maker"
    block = tags.tobytes()[6:]
    data = tagged(form, exif=tags.tobytes())
    place = data.index(block)
    damaged = data[:place] + damage.ljust(len(block), b"\xff") + data[place + len(block) :]
    assert damaged != data
    assert (pixels(damaged) == pixels(data)).all()


def test_a_webp_whose_metadata_is_cut_off_is_the_picture():
    data = tagged("WEBP", exif=exif(1) + bytes(100), lossless=True)
    assert (pixels(data[:-50]) == np.asarray(samples.picture())).all()


NOTES = {
    "a resolution that is a text": (282, 2, 3, 8),
    "a resolution of no number": (283, 5, 0, 8),
    "XMP that is a number": (700, 4, 1, 1),
    "XMP that is numbers": (700, 9, 4, 8),
    "XMP that is a text": (700, 2, 1, 0),
    "EXIF before the file": (34665, 9, 1, 2**32 - 64),
    "EXIF behind the file": (34665, 4, 1, 2**31),
    "GPS that is pixels": (34853, 4, 1, 8),
    "a description of 2 GB": (270, 2, 2**31, 8),
    "a time that is fractions": (306, 5, 2, 8),
    "a profile of numbers": (34675, 4, 2, 8),
    "four orientations": (274, 4, 4, 8),
    "orientation 77": (274, 3, 1, 77),
}


@pytest.mark.parametrize("name", NOTES)
@pytest.mark.filterwarnings("ignore")
def test_a_tiff_whose_notes_are_damaged_is_the_picture(name):
    data = samples.image_file(samples.picture(), "TIFF", resolution_unit=3, x_resolution=10, y_resolution=10)
    start = struct.unpack_from("<I", data, 4)[0]
    count = struct.unpack_from("<H", data, start)[0]
    entries = [data[start + 2 + 12 * i :][:12] for i in range(count)]
    note = struct.pack("<HHII", *NOTES[name])
    entries = [entry for entry in entries if entry[:2] != note[:2]] + [note]
    directory = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    damaged = data[:4] + struct.pack("<I", len(data)) + data[8:] + directory
    assert (pixels(damaged) == np.asarray(samples.picture())).all()


def test_a_jpeg_2000_whose_resolution_is_damaged_is_the_picture():
    data = samples.file("image", "a.jp2")
    at = data.index(b"jp2h") - 4
    size = int.from_bytes(data[at : at + 4], "big")
    damaged = struct.pack(">I4sI4s", 16, b"res ", 8, b"resc")
    header = struct.pack(">I", size + 16) + data[at + 4 : at + size] + damaged
    assert (pixels(data[:at] + header + data[at + size :]) == pixels(data)).all()

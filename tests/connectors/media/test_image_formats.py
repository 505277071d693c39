"""Formats beside the everyday ones: read, or refused by their names."""

import io
import struct

import numpy as np
import pytest
import samples
from PIL import Image

from connectors.errors import InvalidMedia, MediaTooLarge, UnsupportedMedia
from connectors.media import Limits, decode, sniff


def pixels(data, **options):
    return np.asarray(decode("image", data, **options)).astype(int)


def rebranded(data: bytes, major: bytes, *compatible: bytes) -> bytes:
    """A boxed file with another `ftyp` of the same length, so that its offsets stay right."""
    size = int.from_bytes(data[:4], "big")
    brands = b"".join(compatible)
    return data[:8] + major + data[12:16] + (brands + b"miaf" * 9)[: size - 16] + data[size:]


@pytest.mark.parametrize(
    ("major", "compatible", "mime"),
    [
        (b"avif", (b"mif1",), "image/avif"),
        (b"mif1", (b"avif",), "image/avif"),
        (b"mif1", (b"miaf", b"avif"), "image/avif"),
        (b"mif1", (b"miaf",), "image/heif"),
    ],
)
def test_an_avif_of_any_brand_is_read(major, compatible, mime):
    data = rebranded(samples.file("image", "a.avif"), major, *compatible)
    assert sniff(data).mime == mime
    if mime == "image/avif":
        assert np.abs(pixels(data) - np.asarray(samples.picture())).mean() < 8


@pytest.mark.parametrize(
    ("major", "compatible", "mime"),
    [(b"heic", (b"mif1",), "image/heic"), (b"mif1", (b"heic",), "image/heic")],
)
def test_heic_and_heif_are_read(major, compatible, mime):
    data = rebranded(samples.file("image", "a.heic"), major, *compatible)
    assert sniff(data).mime == mime
    assert np.abs(pixels(data) - np.asarray(samples.picture())).mean() < 8


def test_a_sequence_of_either_brand_gives_its_first_picture():
    frames = [Image.new("RGB", (64, 48), colour) for colour in ("red", "blue")]
    data = samples.image_file(frames[0], "AVIF", save_all=True, append_images=frames[1:], duration=100)
    assert data[8:12] == b"avis"
    for file in (data, rebranded(data, b"msf1", b"avis", b"msf1")):
        assert sniff(file).mime == "image/avif"
        assert np.abs(pixels(file)[24, 32] - (255, 0, 0)).max() < 12


def test_videos_and_sounds_in_boxes_are_not_pictures():
    assert sniff(samples.file("audio", "a.mp4")).modality == "audio"
    assert sniff(samples.file("audio", "a.m4a")).modality == "audio"


def test_a_heic_that_lies_about_its_size_is_refused_before_it_is_decoded():
    data = samples.image_file(Image.new("RGB", (3000, 2000), "red"), "HEIF")
    at = data.index(b"ispe") + 8
    assert struct.unpack_from(">II", data, at) == (3000, 2000)
    with pytest.raises(InvalidMedia, match="a damaged HEIC picture: its parts are larger than it says"):
        decode("image", data[:at] + struct.pack(">II", 64, 64) + data[at + 8 :])
    with pytest.raises(MediaTooLarge, match="9,000 x 9,000 pixels; the limit is 64,000,000 in all"):
        decode("image", data[:at] + struct.pack(">II", 9_000, 9_000) + data[at + 8 :])


def test_a_heic_in_another_coding_is_not_supported():
    with pytest.raises(UnsupportedMedia, match="a HEIF picture coded as VVC, which is not supported"):
        decode("image", samples.file("image", "a.heic").replace(b"hvc1", b"vvc1").replace(b"hvcC", b"vvcC"))


def small_first_frame_gif(transparency=None):
    """A red frame of 8 x 8 at (4, 2) on a canvas of 16 x 16."""
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 255, 255, 0, 0])
    options = {} if transparency is None else {"transparency": transparency}
    data = bytearray(samples.image_file(image, "GIF", optimize=False, **options))
    struct.pack_into("<HH", data, 6, 16, 16)
    at = data.index(b",\0\0\0\0\x08\0\x08\0")
    struct.pack_into("<HH", data, at + 1, 4, 2)
    return bytes(data)


def small_first_frame_webp(alpha=False):
    """The same as a WebP animation, its frame's chunk written by Pillow (RFC 9649, 2.7)."""
    image = Image.new("RGBA" if alpha else "RGB", (8, 8), (255, 0, 0))
    still = samples.image_file(image, "WEBP", lossless=True)
    frame = still[still.index(b"VP8L") :]

    def chunk(kind, body):
        return kind + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)

    def three(*numbers):
        return b"".join(struct.pack("<I", n)[:3] for n in numbers)

    profile = chunk(b"ICCP", bytes(5000))  # animations begin behind it, and it may be long
    header = chunk(b"VP8X", bytes([34 | (16 if alpha else 0), 0, 0, 0]) + three(15, 15))
    frames = chunk(b"ANMF", three(2, 1, 7, 7, 100) + b"\0" + frame) * 2
    body = b"WEBP" + header + profile + chunk(b"ANIM", bytes(6)) + frames
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize(
    "data",
    [
        small_first_frame_gif(), small_first_frame_gif(transparency=0), small_first_frame_webp(),
        small_first_frame_webp(alpha=True),
    ],
)  # fmt: skip
def test_what_the_first_frame_does_not_cover_is_white(data):
    found = pixels(data)
    want = np.full((16, 16, 3), 255)
    want[2:10, 4:12] = (255, 0, 0)
    assert (found == want).all()


@pytest.mark.parametrize("lossless", [True, False])
@pytest.mark.parametrize("more", [{}, {"exif": b"Exif\0\0MM\0\x2a\0\0\0\x08\0\0\0\0\0\0"}])
def test_webp_is_held_to_the_limits_before_it_asks_for_a_canvas(lossless, more, monkeypatch):
    data = samples.image_file(samples.picture(), "WEBP", lossless=lossless, **more)
    assert decode("image", data, limits=Limits(max_pixels=64 * 48)).size == (64, 48)
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("Pillow was asked"))
    with pytest.raises(MediaTooLarge, match="64 x 48 pixels; the limit is 3,071 in all"):
        decode("image", data, limits=Limits(max_pixels=64 * 48 - 1))


def test_large_jpeg_2000_is_decoded_smaller_and_still_well():
    large = samples.picture(4000, 2000)
    image = decode("image", samples.image_file(large, "JPEG2000"))
    assert image.size == (2000, 1000)
    small = np.asarray(image.resize((200, 100), Image.Resampling.BOX)).astype(int)
    assert np.abs(small - np.asarray(large.resize((200, 100), Image.Resampling.BOX))).mean() < 2


def test_jpeg_2000_without_smaller_versions_is_held_to_its_memory():
    data = samples.image_file(Image.new("L", (64, 64)), "JPEG2000", num_resolutions=1)
    whole = bytearray(data)
    at = data.index(b"ihdr") + 4
    struct.pack_into(">II", whole, at, 7000, 7000)
    with pytest.raises(MediaTooLarge, match="JPEG 2000 without smaller versions"):
        decode("image", bytes(whole))


def netpbm(kind, values, white=None, comment=b""):
    """A Netpbm file by the manual pages pbm(5), pgm(5), ppm(5)."""
    height, width = values.shape[:2]
    head = b"P%d\n%s%d %d\n" % (kind, comment, width, height)
    if kind not in (1, 4):
        head += b"%d\n" % white
    if kind == 4:
        return head + np.packbits(values.astype(bool), axis=1).tobytes()
    if kind > 3:
        return head + values.astype(np.uint8 if white < 256 else ">u2").tobytes()
    return head + b" ".join(b"%d" % v for v in values.ravel()) + b"\n"


@pytest.mark.parametrize("white", [1, 15, 100, 255, 256, 1000, 65_535])
@pytest.mark.parametrize("kind", [2, 3, 5, 6])
def test_netpbm_of_any_white_is_read(kind, white):
    shape = (5, 7, 3) if kind in (3, 6) else (5, 7)
    values = np.random.default_rng(white).integers(0, white + 1, shape)
    want = np.broadcast_to((values / white * 255).reshape(5, 7, -1), (5, 7, 3))
    data = netpbm(kind, values, white, comment=b"# 9 9 a comment\n")
    assert np.abs(pixels(data) - want).max() <= 0.51
    reference = Image.open(io.BytesIO(data))
    if reference.mode != "I":
        assert np.abs(np.asarray(reference.convert("RGB")).astype(int) - pixels(data)).max() <= 1


@pytest.mark.parametrize("kind", [1, 4])
def test_bitmaps_are_black_where_they_are_set(kind):
    values = np.random.default_rng(0).integers(0, 2, (5, 11))
    data = netpbm(kind, values)
    assert (pixels(data)[..., 0] == 255 * (1 - values)).all()
    assert (np.asarray(Image.open(io.BytesIO(data)).convert("L")) == 255 * (1 - values)).all()
    if kind == 1:
        packed = data[: data.index(b"\n", 3) + 1] + b"".join(b"%d" % v for v in values.ravel())
        assert (pixels(packed) == pixels(data)).all()


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        (b"P6\n4 4\n255\n" + bytes(47), InvalidMedia, "cut off"),
        (b"P5\n4 4\n300\n" + bytes(31), InvalidMedia, "cut off"),
        (b"P4\n9 4\n" + bytes(7), InvalidMedia, "cut off"),
        (b"P1\n3 3\n1 0 1 0", InvalidMedia, "cut off"),
        (b"P3\n2 1\n255\n1 2 3 4 5", InvalidMedia, "cut off"),
        (b"P2\n2 2\n255\n1 two 3 4", InvalidMedia, "other things than numbers"),
        (b"P2\n2 2\n255\n1 2 300 4", InvalidMedia, "brighter than its white"),
        (b"P2\n2 2\n255\n1 -2 3 4", InvalidMedia, "brighter than its white"),
        (b"P5\n4 4\n0\n" + bytes(16), InvalidMedia, "brightest value is 0"),
        (b"P5\n4 4\n65536\n" + bytes(32), InvalidMedia, "brightest value is 65,536"),
        (b"P1\n2 2\n1 0 7 0", InvalidMedia, "other values than 0 and 1"),
        (b"P6\n0 4\n255\n", InvalidMedia, "is empty"),
        (b"P6\n90000 90000\n255\n", MediaTooLarge, "90,000 x 90,000 pixels"),
        (b"P3\n7000 7000\n255\n1 2 3", InvalidMedia, "cut off"),
    ],
)
def test_what_is_wrong_with_a_netpbm_is_said(data, error, words):
    with pytest.raises(error, match=words):
        decode("image", data)


@pytest.mark.parametrize(
    "text",
    [
        b"P3 is the third of our plans, P4 the 4 th.",
        b"P1 5 7 is a good one",
        b"P2 3 4 dogs",
        b"P4 2 0 results, and more",
        b"P6 12 13 years later",
    ],
)
def test_text_that_begins_like_a_netpbm_is_text(text):
    assert sniff(text).modality == "text"


def test_a_large_netpbm_as_text_is_read():
    values = np.random.default_rng(0).integers(0, 256, (1000, 1000, 3))
    assert (pixels(netpbm(3, values, 255)) == values).all()


SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"><rect width="8" height="8"/></svg>'


@pytest.mark.parametrize(
    ("data", "name", "words"),
    [
        (SVG, None, "an SVG drawing"),
        (SVG, "a.svg", "an SVG drawing"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- a - b -->\n" + SVG, None, "an SVG drawing"),
        (
            b"<!DOCTYPE svg PUBLIC '-//W3C//DTD SVG 1.1//EN' [ <!ENTITY a 'b'> ]>" + SVG,
            None,
            "an SVG drawing",
        ),
        (b"\x1f\x8b\x08" + bytes(20), "a.svgz", "an SVG drawing"),
        (b"\xff\x0a\x10\x20" + bytes(20), None, "a JPEG XL picture"),
        (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(20), None, "a JPEG XL picture"),
        (b"\xff\x0a", "a.jxl", "a JPEG XL picture"),
        (samples.image_file(samples.picture(), "ICO"), None, r"a Windows icon \(ICO\)"),
        (b"8BPS\0\x01" + bytes(20), "a.psd", r"a Photoshop picture \(PSD\)"),
        (samples.image_file(samples.picture(), "TGA"), "a.tga", r"a Targa picture \(TGA\)"),
        (b"/* XPM */\nstatic char *a[] = {", None, "an XPM picture"),
        (b"/* XPM */\nstatic char *a[] = {", "a.xpm", "an XPM picture"),
        (b"#define a_width 8\n#define a_height 8\nstatic", None, "an XBM picture"),
        (samples.image_file(samples.picture(), "DDS"), None, "a DDS texture"),
        (b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n", None, "a Radiance HDR picture"),
        (b"\x76\x2f\x31\x01\2\0\0\0", None, "an OpenEXR picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", None, "an EPS drawing"),
        (b"qoif\0\0\0\x08", None, "a QOI picture"),
        (b"Pf\n2 2\n-1.0\n" + bytes(16), None, "a PFM picture"),
        (b"P7\nWIDTH 2\nHEIGHT 2\nDEPTH 1\nMAXVAL 255\nENDHDR\n", None, "a PAM picture"),
        (b"IIU\0" + bytes(40), None, "a camera's raw picture"),
        (bytes(128) + b"DICM" + bytes(40), None, "a DICOM picture"),
        (b"\0\1\2\3", "a.dng", "a camera's raw picture"),
    ],
)
def test_a_picture_of_another_kind_is_refused_by_its_name(data, name, words):
    with pytest.raises(UnsupportedMedia, match=f"is {words}, which is not supported. Supported: images"):
        sniff(data, name)
    with pytest.raises(UnsupportedMedia, match=words):
        decode("image", data, name=name)


def test_a_cr3_is_a_camera_picture_and_no_sound():
    with pytest.raises(UnsupportedMedia, match="a camera's raw picture"):
        decode("image", b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + bytes(40))


@pytest.mark.parametrize("name", ["notes.txt", "README.md"])
def test_what_is_named_a_text_is_one_even_where_it_looks_like_a_drawing(name):
    assert sniff(SVG, name).modality == "text"
    assert sniff(b"the <svg> element", None).modality == "text"


def test_a_content_type_that_is_not_read_is_not_called_damaged():
    with pytest.raises(UnsupportedMedia, match="is a picture of type image/x-tga, which is not supported"):
        sniff(bytes(range(200)), content_type="image/x-tga")
    with pytest.raises(InvalidMedia, match="sent as image/png but holds something else"):
        sniff(bytes(range(200)), content_type="image/png")


def test_a_jpeg_of_12_bits_is_not_supported_and_not_damaged():
    thumbnail = samples.file("image", "a.jpg")
    data = bytearray(samples.image_file(samples.picture(), "JPEG", comment=thumbnail))
    frame = data.rindex(b"\xff\xc0\0\x11")
    for change, words in (
        ((frame + 4, 12), "a JPEG of 12 bits a sample"),
        ((frame + 1, 0xC3), "a lossless JPEG"),
        ((frame + 1, 0xF7), "a JPEG-LS picture"),
    ):
        other = bytearray(data)
        other[change[0]] = change[1]
        with pytest.raises(UnsupportedMedia, match=f"is {words}, which is not supported"):
            decode("image", bytes(other))


def test_a_png_for_iphones_alone_is_not_supported():
    data = samples.file("image", "a.png")
    at = data.index(b"IDAT") - 4
    bare = data[at + 10 : at + 8 + int.from_bytes(data[at : at + 4], "big") - 4]  # without zlib's frame
    pixels_chunk = struct.pack(">I", len(bare)) + b"IDAT" + bare + bytes(4)
    apples = data[:8] + b"\0\0\0\4CgBIP\0 \2+\xd5\xb3\x7f" + data[8:at] + pixels_chunk + data[-12:]
    with pytest.raises(UnsupportedMedia, match=r"an Apple-optimised PNG \(CgBI\), which is not supported"):
        decode("image", apples)


def test_a_bmp_with_something_in_its_reserved_bytes_is_read():
    data = samples.file("image", "a.bmp")
    assert (pixels(data[:6] + b"abcd" + data[10:]) == np.asarray(samples.picture())).all()


def test_a_bmp_with_a_jpeg_inside_is_not_supported():
    data = bytearray(samples.file("image", "a.bmp"))
    struct.pack_into("<I", data, 30, 4)
    with pytest.raises(UnsupportedMedia, match="a BMP of compression 4, which is not supported"):
        decode("image", bytes(data))


JARGON = ("Errno", "not in list", "unknown error", "cannot identify", "BytesIO", "decoder error", "object at")


@pytest.mark.parametrize("name", samples.IMAGES)
@pytest.mark.filterwarnings("ignore")
def test_refusals_carry_no_librarys_words(name):
    data = samples.file("image", name)
    damaged = [data[:size] for size in (13, 20, 40, len(data) // 3, len(data) * 2 // 3)]
    damaged += [data[:at] + b"\xff" * 20 + data[at + 20 :] for at in range(8, min(len(data), 300), 7)]
    for bad in damaged:
        try:
            decode("image", bad, name="a.picture", limits=Limits(max_pixels=10**6))
        except (InvalidMedia, MediaTooLarge, UnsupportedMedia) as error:
            assert not any(word in error.message for word in JARGON), error.message

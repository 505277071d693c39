"""ICC profiles are applied: measured against the arithmetic of their own curves and matrices."""

import io
import struct

import av
import numpy as np
import pytest
import samples
from PIL import Image, ImageCms

from connectors.media import decode

# Primaries adapted to D50, as columns of X, Y, Z (ICC's own sRGB profile; Display P3's).
SRGB = np.array([[0.4361, 0.3851, 0.1431], [0.2225, 0.7169, 0.0606], [0.0139, 0.0971, 0.7141]])
WIDE = np.array([[0.5151, 0.2920, 0.1571], [0.2412, 0.6922, 0.0666], [-0.0011, 0.0419, 0.7841]])


def number(value):
    return struct.pack(">i", round(value * 65536))


def profile(
    space: bytes, tags: dict[bytes, bytes], connection: bytes = b"XYZ ", kind: bytes = b"mntr"
) -> bytes:
    """An ICC profile of version 2, written from its specification (ICC.1:2001-04)."""
    words = b"desc\0\0\0\0" + struct.pack(">I", 2) + b"x\0" + bytes(78)
    tags = {b"desc": words, b"wtpt": xyz(0.9642, 1, 0.8249), b"cprt": b"text\0\0\0\0-\0", **tags}
    at = 128 + 4 + 12 * len(tags)
    table, bodies = struct.pack(">I", len(tags)), b""
    for name, body in tags.items():
        table += name + struct.pack(">II", at + len(bodies), len(body))
        bodies += body + bytes(-len(body) % 4)
    size = at + len(bodies)
    head = struct.pack(">I4sI", size, b"none", 0x02400000) + kind + space + connection
    head += struct.pack(">6H", 2020, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + xyz(0.9642, 1, 0.8249)[8:]
    return head.ljust(128, b"\0") + table + bodies


def xyz(*values):
    return b"XYZ \0\0\0\0" + b"".join(map(number, values))


def gamma(value):
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(value * 256))


def rgb_profile(primaries=WIDE, power=1.8):
    curves = {tag: gamma(power) for tag in (b"rTRC", b"gTRC", b"bTRC")}
    columns = {tag: xyz(*primaries[:, i]) for i, tag in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))}
    return profile(b"RGB ", columns | curves)


def grey_profile(power):
    return profile(b"GRAY", {b"kTRC": gamma(power)})


def cmyk_profile():
    """Inks that do something else than is usual: magenta makes grey, cyan red, yellow yellow."""
    corners = np.stack(np.meshgrid(*[[0, 1]] * 4, indexing="ij"), -1).reshape(-1, 4)
    lab = [
        (255 * (1 - k) * (1 - 0.4 * m), 128 + 60 * c * (1 - k), 128 + 60 * y * (1 - k))
        for c, m, y, k in corners
    ]
    line = bytes(range(256))
    matrix = b"".join(map(number, np.eye(3).ravel()))
    table = bytes(int(v) for row in lab for v in row)
    body = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + matrix + line * 4 + table + line * 3
    return profile(b"CMYK", {b"A2B0": body}, connection=b"Lab ", kind=b"prtr")


def to_srgb(linear):
    """Linear sRGB light to levels (IEC 61966-2-1)."""
    linear = np.clip(linear, 0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def by_arithmetic(colours, primaries=WIDE, power=1.8):
    light = (np.asarray(colours) / 255) ** power
    return to_srgb(light @ (np.linalg.inv(SRGB) @ primaries).T)


COLOURS = [(200, 60, 40), (40, 200, 60), (120, 120, 120), (10, 30, 90), (250, 250, 240), (0, 255, 0)]


def patches(colours, mode="RGB"):
    image = Image.new(mode, (16 * len(colours), 16))
    for i, colour in enumerate(colours):
        image.paste(colour, (16 * i, 0, 16 * i + 16, 16))
    return image


def middles(data):
    return np.asarray(decode("image", data)).astype(int)[8, 8::16]


@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP", "JPEG", "AVIF", "HEIF"])
def test_wide_gamut_colours_are_brought_to_srgb(form):
    options = (
        {"lossless": True} if form == "WEBP" else {"quality": 100} if form not in ("PNG", "TIFF") else {}
    )
    found = middles(samples.image_file(patches(COLOURS), form, icc_profile=rgb_profile(), **options))
    error = np.abs(found - by_arithmetic(COLOURS))
    assert error.max() <= (2 if form in ("PNG", "TIFF", "WEBP") else 12)
    assert np.abs(np.array(COLOURS) - by_arithmetic(COLOURS)).max() > 20


def test_transparency_outlives_the_profile():
    image = patches(COLOURS).convert("RGBA")
    image.paste((9, 9, 9, 0), (0, 0, 16, 16))
    found = middles(samples.image_file(image, "PNG", icc_profile=rgb_profile()))
    assert found[0].tolist() == [255, 255, 255]
    assert np.abs(found[1:] - by_arithmetic(COLOURS[1:])).max() <= 2


def test_a_palettes_colours_are_brought_to_srgb():
    image = patches(COLOURS).quantize(8)
    found = middles(samples.image_file(image, "PNG", icc_profile=rgb_profile()))
    assert np.abs(found - by_arithmetic(COLOURS)).max() <= 3


@pytest.mark.parametrize("mode", ["L", "LA"])
def test_greys_follow_their_curve(mode):
    levels = np.array([20, 90, 160, 230])
    image = patches([int(v) for v in levels], "L").convert(mode)
    found = middles(samples.image_file(image, "PNG", icc_profile=grey_profile(1.0)))
    assert np.abs(found - to_srgb(levels / 255)[:, None]).max() <= 2


@pytest.mark.parametrize("form", ["TIFF", "JPEG"])
def test_cmyk_is_what_its_profile_says(form):
    inks = [(0, 0, 0, 0), (0, 255, 0, 0), (0, 0, 0, 128), (128, 255, 0, 0), (0, 255, 128, 0)]
    options = {"quality": 100} if form == "JPEG" else {}
    found = middles(samples.image_file(patches(inks, "CMYK"), form, icc_profile=cmyk_profile(), **options))
    ink = np.array(inks) / 255
    lab = np.stack([100 * (1 - ink[:, 3]) * (1 - 0.4 * ink[:, 1]), 60 * ink[:, 0], 60 * ink[:, 2]], -1)
    assert np.abs(found - lab_to_srgb(lab)).max() <= (4 if form == "TIFF" else 12)


def lab_to_srgb(lab):
    """CIE 15, 8.2.1.1, against D50."""
    y = (lab[:, 0] + 16) / 116
    f = np.stack([y + lab[:, 1] / 500, y, y - lab[:, 2] / 200], -1)
    light = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * [0.9642, 1, 0.8249]
    return to_srgb(light @ np.linalg.inv(SRGB).T)


def test_lab_pictures_are_read():
    lab = Image.merge("LAB", [Image.new("L", (16, 16), v) for v in (153, 168, 148)])
    found = middles(samples.image_file(lab, "TIFF"))
    assert np.abs(found - lab_to_srgb(np.array([[60.0, 40.0, 20.0]]))).max() <= 3


def without_adobe(data):
    """The file without its Adobe marker, which says that inks are stored as what is left of white."""
    at = data.index(b"\xff\xee")
    return data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4], "big") :]


def test_a_cmyk_jpeg_is_adobes_whether_it_says_so_or_not():
    """All readers agree on that; FFmpeg, through PyAV, is asked here."""
    inks = [(255, 0, 0, 0), (0, 0, 255, 20), (0, 200, 0, 0)]
    data = samples.image_file(patches(inks, "CMYK"), "JPEG", quality=100)
    for file in (data, without_adobe(data)):
        with av.open(io.BytesIO(file)) as container:
            frame = next(container.decode(video=0)).to_ndarray(format="rgb24")
        assert np.abs(middles(file) - frame[8, 8::16]).max() <= 4


def damaged_profiles():
    sound = rgb_profile()
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    yield from (b"x", bytes(500), sound[:200], sound[:-40], sound[:128], srgb[:300])
    yield sound.replace(b"rXYZ", b"zzzz")
    yield sound.replace(b"acsp", b"psca")
    yield cmyk_profile()
    yield grey_profile(1.0)
    yield sound[:128] + struct.pack(">I", 2**31) + sound[132:]


@pytest.mark.parametrize("bad", list(damaged_profiles()))
@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_a_damaged_or_foreign_profile_refuses_no_picture(form, bad):
    options = {"lossless": True} if form == "WEBP" else {"quality": 100} if form == "JPEG" else {}
    found = middles(samples.image_file(patches(COLOURS), form, icc_profile=bad, **options))
    assert np.abs(found - np.array(COLOURS)).max() <= 8


@pytest.mark.parametrize("seed", range(30))
def test_a_profile_with_flipped_bytes_refuses_no_picture(seed):
    random = np.random.default_rng(seed)
    for whole, mode in ((rgb_profile(), "RGB"), (cmyk_profile(), "CMYK")):
        bad = bytearray(whole)
        for _ in range(6):
            bad[random.integers(len(bad))] = random.integers(256)
        data = samples.image_file(Image.new(mode, (16, 16)), "TIFF", icc_profile=bytes(bad))
        assert decode("image", data).size == (16, 16)


def test_srgb_with_its_own_profile_is_left_as_it_is():
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert middles(samples.image_file(patches(COLOURS), "PNG", icc_profile=srgb)).tolist() == [
        list(colour) for colour in COLOURS
    ]

"""Greys of more than 8 bits keep their order, whatever their samples are."""

import struct
import zlib

import numpy as np
import pytest
import samples
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from connectors.errors import InvalidMedia, MediaError, MediaTooLarge, UnsupportedMedia
from connectors.media import Limits, decode

FORMATS = {"u": 1, "i": 2, "f": 3}


def tiff(values, order="<", big=False, deflate=False, photometric=1, extra=()):
    """A TIFF of one strip, written from its specification (TIFF 6.0; BigTIFF of libtiff)."""
    height, width = values.shape[:2]
    samples_a_pixel = values.shape[2] if values.ndim == 3 else 1
    body = values.astype(values.dtype.newbyteorder(order)).tobytes()
    body = zlib.compress(body) if deflate else body
    bits = [8 * values.dtype.itemsize] * samples_a_pixel
    form = [FORMATS[values.dtype.kind]] * samples_a_pixel
    entries = {
        256: [width], 257: [height], 258: bits, 259: [8 if deflate else 1], 262: [photometric],
        273: None, 277: [samples_a_pixel], 278: [height], 279: [len(body)], 339: form, **dict(extra),
    }  # fmt: skip
    word, head, room = ("Q", 16, 8) if big else ("I", 8, 4)
    start = head + len(body) + len(body) % 2
    directory = b""
    outside = b""
    first = start + (8 if big else 2) + len(entries) * (20 if big else 12) + room
    for tag, numbers in sorted(entries.items()):
        numbers = [head] if numbers is None else numbers
        kind = "H" if tag in (258, 339) else "I"
        packed = struct.pack(f"{order}{len(numbers)}{kind}", *numbers)
        if len(packed) > room:
            outside_at = first + len(outside)
            outside += packed
            packed = struct.pack(order + word, outside_at)
        directory += struct.pack(f"{order}HH{word}", tag, 3 if kind == "H" else 4, len(numbers))
        directory += packed.ljust(room, b"\0")
    mark = b"II" if order == "<" else b"MM"
    version = struct.pack(f"{order}HHHQ", 43, 8, 0, start) if big else struct.pack(f"{order}HI", 42, start)
    count = struct.pack(order + ("Q" if big else "H"), len(entries))
    return (mark + version + body).ljust(start, b"\0") + count + directory + bytes(room) + outside


def grey(data):
    image = np.asarray(decode("image", data)).astype(int)
    assert (image[..., 0] == image[..., 2]).all()
    return image[..., 0]


RANGES = {
    "u2": (0, 65_535), "u4": (0, 2**32 - 1), "i2": (-32_768, 32_767), "i4": (-(2**31), 2**31 - 1),
    "f2": (-60_000.0, 60_000.0), "f4": (-3e38, 3e38),
}  # fmt: skip


def ramp(kind):
    low, high = RANGES[kind]
    return np.linspace(low, high, 256).astype(kind).reshape(16, 16)


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", RANGES)
def test_a_ramp_of_any_samples_is_a_ramp_of_grey(kind, order, deflate, big):
    found = grey(tiff(ramp(kind), order, big, deflate)).ravel()
    assert np.abs(found - np.arange(256)).max() <= 1
    assert (np.diff(found) >= 0).all()


@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", ["u2", "u4", "f2", "f4"])
def test_where_zero_is_white_the_ramp_falls(kind, order, deflate):
    found = grey(tiff(ramp(kind), order, deflate=deflate, photometric=0)).ravel()
    assert np.abs(found[::-1] - np.arange(256)).max() <= 1


def test_dark_and_bright_of_uint32_are_not_swapped():
    found = grey(tiff(np.array([[0, 2**31 - 1, 2**31, 2**32 - 1]] * 4, np.uint32)))
    assert found[0].tolist() == [0, 127, 128, 255] or (np.diff(found[0]) >= 0).all()


@pytest.mark.parametrize("values", [[5.0] * 4, [1e-40, 2e-40, 3e-40, 4e-40], [-1e-3, 0, 1e-3, 1e30]])
def test_floats_of_any_range_keep_their_order(values):
    found = grey(tiff(np.array([values] * 4, np.float32)))[0]
    assert (np.diff(found) >= 0).all()
    assert found[-1] == (255 if len(set(values)) > 1 else 0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", ["f2", "f4"])
def test_floats_that_are_no_numbers_are_invalid(kind, bad):
    values = ramp(kind)
    values[3, 3] = bad
    with pytest.raises(InvalidMedia, match="not finite"):
        decode("image", tiff(values))


def test_16_bit_transparency_is_white():
    values = np.array([[1000, 40_000]] * 2, np.uint16)
    data = samples.image_file(Image.fromarray(values), "PNG", transparency=1000)
    assert grey(data)[0].tolist() == [255, 40_000 >> 8]


@pytest.mark.parametrize("order", "<>")
def test_big_tiffs_of_colour_are_read(order):
    colours = np.asarray(samples.picture())
    found = np.asarray(decode("image", tiff(colours, order, big=True, photometric=2)))
    assert (found == colours).all()


@pytest.mark.parametrize(
    ("values", "photometric", "words"),
    [
        (np.zeros((8, 8), np.float64), 1, "1 x 64-bit float samples"),
        (np.zeros((8, 8, 3), np.float32), 2, "3 x 32-bit float samples"),
        (np.zeros((8, 8), np.int64), 1, "1 x 64-bit signed samples"),
    ],
)
def test_a_tiff_of_other_samples_is_not_supported_by_name(values, photometric, words):
    with pytest.raises(UnsupportedMedia, match=f"scan.tif is a TIFF of {words} a pixel, which is not supp"):
        decode("image", tiff(values, photometric=photometric), name="scan.tif")


def test_a_tiff_of_unknown_compression_is_not_supported():
    with pytest.raises(UnsupportedMedia, match=r"a TIFF of compression 34712, which is not supported"):
        decode("image", tiff(np.zeros((8, 8), np.uint8), extra={259: [34712]}))


@pytest.mark.parametrize("extra", [{50706: [0x01040000]}, {254: [1], 330: [8]}])
def test_a_cameras_raw_picture_is_not_its_thumbnail(extra):
    with pytest.raises(UnsupportedMedia, match="a camera's raw picture, which is not supported"):
        decode("image", tiff(np.zeros((8, 8), np.uint8), extra=extra))


def test_wide_greys_are_held_to_the_limits_before_they_are_decoded():
    for kind in RANGES:
        with pytest.raises(MediaTooLarge):
            decode("image", tiff(ramp(kind), deflate=True), limits=Limits(max_pixels=255))


@pytest.mark.parametrize("kind", RANGES)
@pytest.mark.filterwarnings("ignore")  # Pillow warns of some
@settings(max_examples=60, deadline=2_000, derandomize=True)
@given(
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=8),
    order=st.sampled_from("<>"),
    big=st.booleans(),
    deflate=st.booleans(),
)
def test_damage_to_a_wide_grey_raises_media_errors_and_nothing_else(kind, flips, order, big, deflate):
    data = bytearray(tiff(ramp(kind), order, big, deflate))
    for place, value in flips:
        data[int(place * len(data))] = value
    try:
        decode("image", bytes(data), name="scan.tif", limits=Limits(max_pixels=10**6))
    except MediaError as error:
        assert error.message.startswith("scan.tif")

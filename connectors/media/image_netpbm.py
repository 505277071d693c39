"""Netpbm pictures (pbm, pgm, ppm; P1 to P6), the first of a file.

Source: the manual pages pbm(5), pgm(5) and ppm(5) of Netpbm. Pillow's reader is Python wherever the
brightest value is not 255 or the numbers are text: a minute for what NumPy does in a second.
"""

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from connectors.errors import InvalidMedia
from connectors.media.image_grey import in_bands
from connectors.media.source import Source

_GAP = rb"(?:\s|#[^\r\n]*+[\r\n])++"
_COMMENT = re.compile(rb"#[^\r\n]*+")
_SIZE = rb"P([1-6])" + _GAP + rb"(\d{1,9})" + _GAP + rb"(\d{1,9})"
HEADERS = {
    "bits": re.compile(_SIZE + rb"\s"),
    "numbers": re.compile(_SIZE + _GAP + rb"(\d{1,9})\s"),
}


def size(source: Source) -> tuple[int, int]:
    """Return width and height, as the header has them."""
    header = _header(source)
    return int(header[2]), int(header[3])


def read(source: Source) -> Image.Image:
    """Return the picture in mode L or RGB; its size has been checked.

    Raises `InvalidMedia` if samples are missing, are no numbers or are brighter than white.
    """
    header = _header(source)
    width, height = int(header[2]), int(header[3])
    kind = int(header[1])
    body = memoryview(source.data)[header.end() :]
    if kind in (1, 4):
        lit = (
            _bitmap(source, body, width, height) if kind == 4 else _plain_bitmap(source, body, width * height)
        )
        return Image.fromarray(in_bands(lit.reshape(height, width), lambda band: np.where(band, 0, 255)))
    white = int(header[4])
    if not 0 < white < 65_536:
        raise source.invalid(
            f"is a damaged PNM: its brightest value is {white:,}, which has to be 1 to 65535"
        )
    bands = 3 if kind in (3, 6) else 1
    count = width * height * bands
    samples = _plain(source, body, count) if kind in (2, 3) else _binary(source, body, count, white)
    if int(samples.max()) > white or int(samples.min()) < 0:
        raise source.invalid("is a damaged PNM: it has values that are brighter than its white")
    samples = samples.reshape((height, width, 3) if bands == 3 else (height, width))
    if samples.dtype != np.uint8 or white != 255:
        samples = in_bands(samples, lambda band: (band.astype(np.uint32) * 255 + white // 2) // white)
    return Image.fromarray(samples)


def _header(source: Source) -> re.Match[bytes]:
    form = "bits" if source.data[1:2] in (b"1", b"4") else "numbers"
    header = HEADERS[form].match(source.data)
    if header is None:
        raise source.invalid("is a damaged PNM: its header is not whole")
    return header


def _bitmap(source: Source, body: memoryview, width: int, height: int) -> NDArray[np.uint8]:
    row = (width + 7) // 8
    if len(body) < row * height:
        raise _cut_off(source)
    rows = np.frombuffer(body, np.uint8, row * height).reshape(height, row)
    return np.unpackbits(rows, axis=1, count=width)


def _plain_bitmap(source: Source, body: memoryview, count: int) -> NDArray[np.uint8]:
    digits = _COMMENT.sub(b"", body).translate(None, b" \t\r\n\v\f")
    bits = np.frombuffer(digits, np.uint8)[:count] - np.uint8(ord("0"))
    if len(bits) < count:
        raise _cut_off(source)
    if bits.max() > 1:
        raise source.invalid("is a damaged PNM: it has other values than 0 and 1")
    return bits


def _binary(source: Source, body: memoryview, count: int, white: int) -> NDArray[Any]:
    kind = np.dtype(np.uint8 if white < 256 else ">u2")
    if len(body) < count * kind.itemsize:
        raise _cut_off(source)
    return np.frombuffer(body, kind, count)


def _plain(source: Source, body: memoryview, count: int) -> NDArray[np.int32]:
    text = _COMMENT.sub(b"", body)
    if len(text) < 2 * count - 1:  # before anything of that length is made
        raise _cut_off(source)
    try:
        numbers = np.fromstring(text, np.int32, count, sep=" ")
    except (ValueError, DeprecationWarning) as error:
        raise source.invalid("is a damaged PNM: it is cut off or has other things than numbers") from error
    if len(numbers) < count:
        raise source.invalid("is a damaged PNM: it is cut off or has other things than numbers")
    return numbers


def _cut_off(source: Source) -> InvalidMedia:
    return source.invalid("is a PNM that is cut off: part of its pixels is missing")

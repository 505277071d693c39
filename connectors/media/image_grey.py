"""Greys of more than 8 bits brought to 8, darker staying darker.

The work is done in bands of rows: a picture of 64 million pixels in 64-bit floats would take 500 MB.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from connectors.media.source import Source

BAND = 1 << 20
"""Samples worked on at a time."""

PHOTOMETRIC, BITS, COMPRESSION, SAMPLE_FORMAT = 262, 258, 259, 339
"""TIFF tags (TIFF 6.0, section 8)."""

# Pillow reads these samples once it is told that they are 16 or 32 bits wide; what the bits mean is
# put right in `_samples`. The key is its own: byte order, photometric, format, fill order, bits.
for _photometric in (0, 1):
    for _order, _wide in ((b"II", "I;16"), (b"MM", "I;16B")):
        for _format in (1, 3):
            TiffImagePlugin.OPEN_INFO.setdefault(
                (_order, _photometric, (_format,), 1, (16,), ()), (_wide, _wide)
            )
    TiffImagePlugin.OPEN_INFO.setdefault((b"II", _photometric, (1,), 1, (32,), ()), ("I", "I;32N"))
    TiffImagePlugin.OPEN_INFO.setdefault((b"MM", _photometric, (1,), 1, (32,), ()), ("I", "I;32B"))


def eight_bit(source: Source, image: Image.Image) -> Image.Image:
    """Return a grey picture of more than 8 bits in mode L; others pass.

    Unsigned samples of up to 16 bits keep their highest 8. Signed and 32-bit integers and floats
    have no range that is certain, so their own minimum and maximum become black and white. A grey
    that the file calls transparent becomes white.
    """
    if image.mode not in ("I", "F") and not image.mode.startswith("I;16"):
        return image
    values, bits, white_is_zero = _samples(image)
    if values.dtype.kind == "u" and values.dtype.itemsize == 2:
        grey = in_bands(values, lambda band: band >> (bits - 8))
    else:
        low, high = float(values.min()), float(values.max())
        if not np.isfinite(low) or not np.isfinite(high):
            raise source.invalid("has pixels that are not finite numbers")
        span = (high - low) or 1.0
        grey = in_bands(values, lambda band: np.rint((band.astype(np.float64) - low) / span * 255))
    if white_is_zero:
        np.subtract(255, grey, out=grey)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey[values == transparent] = 255
    return Image.fromarray(grey)


def in_bands(values: NDArray[Any], function: Callable[[NDArray[Any]], NDArray[Any]]) -> NDArray[np.uint8]:
    """Return `function` of an array as bytes, worked out some rows at a time."""
    out = np.empty(values.shape, np.uint8)
    rows = max(1, BAND // max(1, values[:1].size))
    for at in range(0, len(values), rows):
        out[at : at + rows] = function(values[at : at + rows])
    return out


def _samples(image: Image.Image) -> tuple[NDArray[Any], int, bool]:
    """The numbers as the file means them, their bits, and whether zero is white."""
    values: NDArray[Any] = np.asarray(image)
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return values, 16, False
    tags = image.tag_v2
    form, bits = tags.get(SAMPLE_FORMAT, (1,))[0], tags.get(BITS, (16,))[0]
    if values.dtype.itemsize == 4 and tags.prefix == b"MM" and tags.get(COMPRESSION, 1) != 1:
        # What libtiff unpacks is in the machine's order already; Pillow turns it round once more.
        values = values.byteswap()
    if form == 3 and values.dtype.itemsize == 2:
        values = values.view(values.dtype.str.replace("u2", "f2"))
    if form == 1 and values.dtype.itemsize == 4:
        values = values.view(np.uint32)
    return values, bits, tags.get(PHOTOMETRIC) == 0

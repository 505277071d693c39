"""Images from bytes: JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF in, an upright RGB image out.

The header alone decides whether an image is decoded at all; then come the EXIF rotation, the
reduction of deep and palette modes to 8 bits, and the white page behind transparent pixels.
"""

from io import BytesIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from connectors.media.sniff import expect
from connectors.media.source import Source

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
"""Pillow's names for what is served. Its other readers, some of which start programs, stay out of reach."""

# Pillow imports its readers when first asked, which two threads may be at once.
Image.init()

DRAFT_SIDE = 896
"""JPEGs are decoded at 1/2, 1/4 or 1/8 size while the short side stays at least this, in pixels:
four times what a 224-pixel encoder sees, so its own resize still averages many pixels into one."""


def decode(source: Source) -> Image.Image:
    """Return the first frame, upright, mode RGB, transparent parts on white.

    White, because cut-outs are drawn for white pages; dropping the alpha channel, as encoders'
    published preprocessing does, would show whatever colour lies under the transparent pixels.

    Raises `MediaTooLarge` past `max_pixels` or `max_aspect_ratio` before decoding, `InvalidMedia`
    if the file is damaged or cut off.
    """
    mime = expect(source, "image")
    with source.reading(mime):
        try:
            image = Image.open(BytesIO(source.data), formats=FORMATS)
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            # Pillow's own ceiling; a warning only becomes an exception where filters say so.
            raise source.too_large("too many pixels", f"{source.limits.max_pixels:,}") from error
        except UnidentifiedImageError as error:
            raise source.invalid(f"cannot be read as {mime}: its header is damaged") from error
        with image:
            _check_size(source, image)
            image.draft(None, (DRAFT_SIDE, DRAFT_SIDE))
            image.load()
            upright = ImageOps.exif_transpose(image)
            return _on_white(_eight_bit(source, upright))


def _check_size(source: Source, image: Image.Image) -> None:
    width, height = image.size
    limits = source.limits
    if width < 1 or height < 1:
        raise source.invalid(f"is an image of {width} x {height} pixels")
    if width * height > limits.max_pixels:
        raise source.too_large(f"{width:,} x {height:,} pixels", f"{limits.max_pixels:,} in all")
    if max(width, height) > limits.max_aspect_ratio * min(width, height):
        raise source.too_large(f"sides of {width:,} x {height:,} pixels", f"{limits.max_aspect_ratio:g} to 1")


def _eight_bit(source: Source, image: Image.Image) -> Image.Image:
    """Bring single-channel images deeper than 8 bits to mode L; others pass.

    16-bit samples keep their high byte. 32-bit integers and floats have no nominal range, so
    their own minimum and maximum become black and white.
    """
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode not in ("I", "F"):
        return image
    values = np.asarray(image, dtype=np.float64)
    if not np.isfinite(values).all():
        raise source.invalid("has pixels that are not finite numbers")
    values = values - values.min()
    return Image.fromarray((values * (255 / max(values.max(), 1e-300))).astype(np.uint8))


def _on_white(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image.convert("RGB")
    cutout = image.convert("RGBA")
    page = Image.new("RGBA", cutout.size, "white")
    return Image.alpha_composite(page, cutout).convert("RGB")

"""Images from bytes: JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF, HEIC, JPEG 2000 or PNM in, an RGB image out.

The header alone decides whether an image is decoded at all; then come the reduction of deep modes to
8 bits, the way to sRGB by the file's ICC profile, the white page behind transparent pixels, and the
EXIF rotation.
"""

from PIL import Image

from connectors.media import image_file, image_netpbm
from connectors.media.image_colour import in_srgb
from connectors.media.image_grey import eight_bit
from connectors.media.image_metadata import upright
from connectors.media.sniff import expect
from connectors.media.source import Source


def decode(source: Source) -> Image.Image:
    """Return the first frame, upright, mode RGB, transparent parts on white.

    White, because cut-outs are drawn for white pages; dropping the alpha channel, as encoders'
    published preprocessing does, would show whatever colour lies under the transparent pixels.

    Raises `MediaTooLarge` past `max_pixels` or `max_aspect_ratio` before decoding, `UnsupportedMedia`
    if this kind of its format is not read, `InvalidMedia` if the file is damaged or cut off.
    """
    mime = expect(source, "image")
    with source.reading(mime):
        if mime == "image/x-portable-anymap":
            image_file.check_size(source, *image_netpbm.size(source))
            return image_netpbm.read(source).convert("RGB")
        with image_file.load(source, mime) as image:
            page = _on_white(in_srgb(eight_bit(source, image)))
            picture = upright(_uncovered(page, image), image_file.orientation(image))
            return picture.copy() if picture is image else picture  # the file is closed and let go


def _on_white(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image if image.mode == "RGB" else image.convert("RGB")
    cutout = image.convert("RGBA")
    page = Image.new("RGBA", cutout.size, "white")
    return Image.alpha_composite(page, cutout).convert("RGB")


def _uncovered(page: Image.Image, image: Image.Image) -> Image.Image:
    """Leave white what the first frame of an animation does not cover."""
    frame = image.info.get("frame")
    if frame is None:
        return page
    canvas = Image.new("RGB", page.size, "white")
    canvas.paste(page.crop(frame), frame[:2])
    return canvas

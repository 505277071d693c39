"""A picture file opened and loaded: by Pillow and pillow-heif, within the limits, or refused in words.

Sizes are held against the header before pixels are decoded; a file that a decoder refuses is tried
once more without its metadata.
"""

from io import BytesIO

from PIL import Image, ImageFile, TiffImagePlugin, UnidentifiedImageError

from connectors.errors import MediaError, UnsupportedMedia
from connectors.media import image_tiff, image_webp
from connectors.media.formats import TITLES
from connectors.media.image_kinds import RAW
from connectors.media.image_metadata import exif_orientation, without_metadata
from connectors.media.image_variants import unread_variant
from connectors.media.source import Source

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000")
"""Pillow's names for what is served. Its other readers, some of which start programs, stay out of reach."""

# Pillow imports its readers when first asked, which two threads may be at once.
Image.init()

HEIF_TYPES = ("image/heic", "image/heif")

DRAFT_SIDE = 896
"""JPEGs are decoded at 1/2, 1/4 or 1/8 size while the short side stays at least this, in pixels:
four times what a 224-pixel encoder sees, so its own resize still averages many pixels into one."""

WHOLE_JPEG2000 = 32_000_000
"""Pixels of a JPEG 2000 picture that cannot be decoded smaller: OpenJPEG takes 18 bytes for each."""


def load(source: Source, mime: str) -> Image.Image:
    """Return the first frame of a file of type `mime` as its decoder gives it, loaded.

    Raises `MediaTooLarge` past the limits, `UnsupportedMedia` if the kind is not read, and
    `InvalidMedia` if it is damaged.
    """
    try:
        return _load(source, source.data, mime)
    except MediaError:
        raise
    except Exception as error:
        bare = without_metadata(source.data, mime)
        if bare is None:
            raise _refusal(source, mime, error) from error
    try:
        return _load(source, bare, mime)
    except MediaError:
        raise
    except Exception as error:
        raise _refusal(source, mime, error) from error


def check_size(source: Source, width: int, height: int) -> None:
    """Raise `MediaTooLarge` past the limits of a picture, `InvalidMedia` if it has no pixels."""
    limits = source.limits
    if width < 1 or height < 1:
        raise source.invalid(f"is empty: an image of {width} x {height} pixels")
    if width * height > limits.max_pixels:
        raise source.too_large(f"{width:,} x {height:,} pixels", f"{limits.max_pixels:,} in all")
    if max(width, height) > limits.max_aspect_ratio * min(width, height):
        raise source.too_large(f"sides of {width:,} x {height:,} pixels", f"{limits.max_aspect_ratio:g} to 1")


def _load(source: Source, data: bytes, mime: str) -> Image.Image:
    if (canvas := image_webp.canvas(data)) is not None:
        check_size(source, *canvas)
    formats = _heif() if mime in HEIF_TYPES else FORMATS
    image = Image.open(BytesIO(image_tiff.as_classic(data)), formats=formats)
    check_size(source, *image.size)
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        if image_tiff.is_raw(image):
            raise unsupported(source, RAW)
        image_tiff.take_orientation(image)
    if image.format == "JPEG2000":
        _shrink_jpeg2000(source, image, data)
    extent = _first_frame(image, data)
    image.draft(None, (DRAFT_SIDE, DRAFT_SIDE))
    image.load()
    if extent is not None:
        image.info["frame"] = extent
    return image


def _heif() -> tuple[str]:
    """Have Pillow know HEIF, and return its name for it."""
    import pillow_heif  # here: it maps 20 MB of libraries into a process that may never see a HEIC

    # A file's own thumbnail may show something else than the picture.
    pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)
    return ("HEIF",)


def _shrink_jpeg2000(source: Source, image: Image.Image, data: bytes) -> None:
    """Have a JPEG 2000 picture decoded at 1/2, 1/4 ... as far as `DRAFT_SIDE` and its levels allow.

    The number of levels is in the COD segment of its header (ITU-T T.800, A.6.1).
    """
    at = data.find(b"\xff\x4f\xff\x51") + 2
    while at > 1 and data[at : at + 2] not in (b"\xff\x52", b"\xff\x90", b""):
        at += 2 + max(2, int.from_bytes(data[at + 2 : at + 4], "big"))
    levels = data[at + 9] if data[at : at + 2] == b"\xff\x52" and at + 9 < len(data) else 0
    reduction = 0
    while reduction < min(levels, 5) and min(image.size) >> (reduction + 1) >= DRAFT_SIDE:
        reduction += 1
    width, height = image.size
    if (width * height) >> 2 * reduction > WHOLE_JPEG2000:
        limit = f"{WHOLE_JPEG2000:,} in all for a JPEG 2000 without smaller versions in it"
        raise source.too_large(f"{width:,} x {height:,} pixels", limit)
    image.reduce = reduction  # type: ignore[method-assign, assignment]


def _first_frame(image: ImageFile.ImageFile, data: bytes) -> tuple[int, int, int, int] | None:
    """Return where the first frame of a GIF or WebP lies on its canvas; None if it covers all of it.

    Decoders give the rest of the canvas the first colour of the palette, or black.
    """
    extent = (0, 0, *image.size)
    if image.format == "GIF" and image.tile:
        extent = image.tile[0].extents or extent
    elif image.format == "WEBP":
        extent = image_webp.first_frame(data) or extent
    return None if extent == (0, 0, *image.size) else extent


def orientation(image: Image.Image) -> int:
    """Return the EXIF orientation still to be applied; Pillow has turned a TIFF already."""
    return 1 if image.format == "TIFF" else exif_orientation(image.info)


def unsupported(source: Source, kind: str) -> UnsupportedMedia:
    """The error for a kind of picture that is not read."""
    return UnsupportedMedia(f"{source.label} is {kind}, which is not supported")


def _refusal(source: Source, mime: str, error: Exception) -> MediaError:
    """Return the error for a file that its decoder refused, in place of the decoder's own words."""
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        # Pillow's own ceiling; a warning only becomes an exception where filters say so.
        return source.too_large("too many pixels", f"{source.limits.max_pixels:,} in all")
    name = TITLES.get(mime, mime)
    if "Security limit exceeded" in str(error):  # libheif's
        return source.invalid(f"is a damaged {name} picture: its parts are larger than it says")
    kind = unread_variant(source.data, mime)
    if kind is not None:
        return unsupported(source, kind)
    if isinstance(error, UnidentifiedImageError):
        return source.invalid(f"is a damaged {name} picture: its header cannot be read")
    return source.invalid(f"is a damaged or cut-off {name} picture: not all of it can be read")

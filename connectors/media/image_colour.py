"""The colours of a picture brought to sRGB by its ICC profile.

LittleCMS does it, through Pillow. A profile that is damaged, or of another kind of colour than the
picture, counts as none.
"""

from functools import lru_cache
from io import BytesIO

from PIL import Image, ImageCms

SPACES = {"CMYK": "CMYK", "RGB": "RGB", "RGBA": "RGB", "L": "GRAY"}
"""The colour space that a profile has to be of, for each mode."""

LARGEST_PROFILE = 4 * 2**20
"""Bytes; the profiles of printing that are published have up to 3 MB."""

KEPT = 16
"""Profiles whose transforms are kept, each with its bytes."""

SAME = 2
"""Levels of 255 that a profile may move a colour by and still count as sRGB."""


def in_srgb(image: Image.Image) -> Image.Image:
    """Return the picture in sRGB colours, as it is where no usable profile says otherwise."""
    profile = image.info.get("icc_profile")
    if not isinstance(profile, bytes) or not 128 < len(profile) <= LARGEST_PROFILE:
        return image
    mode, alpha = _usual_mode(image)
    transform = _to_srgb(profile, mode) if mode in SPACES else None
    if transform is None:
        return image
    if alpha and mode == "L":
        grey, cutout = image.convert("LA").split()
        coloured = transform.apply(grey)
        coloured.putalpha(cutout)
        return coloured
    return transform.apply(image if image.mode == mode else image.convert(mode))


def _usual_mode(image: Image.Image) -> tuple[str, bool]:
    """The mode that a profile of the picture is for, and whether parts are transparent."""
    alpha = image.has_transparency_data
    if image.mode in ("RGB", "RGBA", "RGBa", "RGBX", "P", "PA", "YCbCr"):
        return ("RGBA" if alpha else "RGB"), alpha
    return ("L" if image.mode in ("LA", "La") else image.mode), alpha


@lru_cache(maxsize=KEPT)
def _to_srgb(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """The way from a profile to sRGB; None if it is unusable or changes nothing.

    Most pictures that carry a profile carry sRGB's, and need no work at all.
    """
    out = "RGBA" if mode == "RGBA" else "RGB"
    try:
        given = ImageCms.ImageCmsProfile(BytesIO(profile))
        if given.profile.xcolor_space.strip() != SPACES[mode]:
            return None
        transform = ImageCms.buildTransform(given, ImageCms.createProfile("sRGB"), mode, out)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
    if mode == "CMYK":
        return transform
    probe = Image.new("RGB", (16, 16))
    probe.putdata([(i % 8 * 36, i // 8 % 8 * 36, i // 64 * 85) for i in range(256)])
    if mode == "L":
        probe = Image.frombytes("L", (16, 16), bytes(range(256)))
    before = probe.convert(out)
    after = transform.apply(probe.convert(mode))
    moved = max(abs(a - b) for a, b in zip(before.tobytes(), after.tobytes(), strict=True))
    return None if moved <= SAME else transform

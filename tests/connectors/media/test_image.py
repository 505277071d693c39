import struct
import tracemalloc
import zlib

import numpy as np
import pytest
import samples
from PIL import Image

from connectors.errors import InvalidMedia, MediaTooLarge
from connectors.media import Limits, decode
from connectors.media.image_file import DRAFT_SIDE


def pixels(data, **options):
    return np.asarray(decode("image", data, **options)).astype(int)


def png_declaring(width, height):
    """A real PNG whose header promises more than it holds."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(bytes(1_000_000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.mark.parametrize("name", samples.IMAGES)
def test_every_format_gives_the_same_rgb_picture(name):
    image = decode("image", samples.file("image", name), name=name)
    assert (image.mode, image.size) == ("RGB", (64, 48))
    # JPEG and AVIF blur the colour edge in the middle, GIF has 256 colours.
    error = np.abs(np.asarray(image).astype(int) - np.asarray(samples.picture()))
    assert error.mean() < (0.5 if name in ("a.png", "a.webp", "a.bmp", "a.tiff") else 8)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation):
    upright = samples.picture()
    # What a camera stores for each tag, so that turning it as the tag says gives `upright`.
    back = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(back[orientation]) if orientation in back else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert (pixels(samples.image_file(stored, "PNG", exif=exif)) == np.asarray(upright)).all()


def test_transparent_pixels_are_white():
    image = Image.new("RGBA", (4, 1), (255, 0, 0, 255))
    image.putpixel((1, 0), (0, 0, 0, 0))
    image.putpixel((2, 0), (0, 0, 0, 128))
    row = pixels(samples.image_file(image, "PNG"), limits=Limits())[0]
    assert row[0].tolist() == [255, 0, 0]
    assert row[1].tolist() == [255, 255, 255]
    assert abs(row[2] - 127).max() <= 1


def test_palette_transparency_is_white_too():
    image = Image.new("P", (2, 1), 1)
    image.putpalette([0, 0, 0, 9, 9, 9])
    image.putpixel((0, 0), 0)
    assert pixels(samples.image_file(image, "PNG", transparency=0))[0].tolist() == [[255] * 3, [9] * 3]


def test_grey_with_alpha_is_composited():
    image = Image.new("LA", (2, 1), (10, 255))
    image.putpixel((1, 0), (10, 0))
    assert pixels(samples.image_file(image, "PNG"))[0].tolist() == [[10] * 3, [255] * 3]


def test_16_bit_grey_keeps_its_high_byte():
    ramp = (np.arange(256, dtype=np.uint16) << 8).reshape(16, 16)
    assert (pixels(samples.image_file(Image.fromarray(ramp), "PNG"))[..., 0] == ramp >> 8).all()


def test_float_images_are_stretched_from_black_to_white():
    ramp = np.linspace(-3, 5, 256, dtype=np.float32).reshape(16, 16)
    grey = pixels(samples.image_file(Image.fromarray(ramp), "TIFF"))[..., 0]
    assert (grey.min(), grey.max()) == (0, 255)
    assert abs(grey.ravel() - np.arange(256)).max() <= 1


def test_float_images_with_nan_are_invalid():
    ramp = np.full((16, 16), np.nan, np.float32)
    with pytest.raises(InvalidMedia, match="not finite"):
        decode("image", samples.image_file(Image.fromarray(ramp), "TIFF"))


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr"])
def test_other_modes_become_rgb(mode):
    form = "TIFF" if mode in ("CMYK", "YCbCr") else "PNG"
    image = decode("image", samples.image_file(samples.picture().convert(mode), form))
    assert (image.mode, image.size) == ("RGB", (64, 48))


def test_a_cmyk_jpeg_keeps_its_colours():
    image = Image.new("RGB", (32, 32), (200, 30, 60)).convert("CMYK")
    assert abs(pixels(samples.image_file(image, "JPEG", quality=95))[16, 16] - (200, 30, 60)).max() < 12


def test_an_animation_gives_its_first_frame():
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    for form in ("GIF", "WEBP"):
        data = samples.image_file(frames[0], form, save_all=True, append_images=frames[1:], duration=100)
        assert abs(pixels(data)[4, 4] - (255, 0, 0)).max() < 8


def test_a_large_jpeg_is_decoded_smaller_and_still_well():
    large = samples.picture(4000, 3000)
    image = decode("image", samples.image_file(large, "JPEG", quality=95))
    assert image.size == (2000, 1500)
    assert min(image.size) >= DRAFT_SIDE
    reference = large.resize((224, 168), Image.Resampling.BICUBIC)
    error = np.abs(np.asarray(image.resize((224, 168), Image.Resampling.BICUBIC)).astype(int) - reference)
    assert error.mean() < 1


def test_a_png_of_50000_by_50000_is_refused_from_its_header():
    data = png_declaring(50_000, 50_000)
    tracemalloc.start()
    with pytest.raises(MediaTooLarge, match=r"bomb\.png has .*pixels; the limit is 64,000,000"):
        decode("image", data, name="bomb.png")
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


def test_pixels_past_the_limit_are_refused_even_below_pillows():
    with pytest.raises(MediaTooLarge, match="9,000 x 9,000 pixels; the limit is 64,000,000 in all"):
        decode("image", png_declaring(9_000, 9_000))
    with pytest.raises(MediaTooLarge):
        decode("image", samples.file("image", "a.png"), limits=Limits(max_pixels=64 * 48 - 1))


def test_a_line_of_pixels_is_refused():
    with pytest.raises(MediaTooLarge, match="100 to 1"):
        decode("image", samples.image_file(Image.new("RGB", (1, 101)), "PNG"))


def test_one_pixel_is_an_image():
    assert decode("image", samples.image_file(Image.new("RGB", (1, 1), "red"), "PNG")).size == (1, 1)


@pytest.mark.parametrize("name", samples.IMAGES)
@pytest.mark.filterwarnings("ignore")  # Pillow also warns about what is then refused
def test_half_an_image_is_invalid(name):
    data = samples.file("image", name)
    with pytest.raises(InvalidMedia, match=name):
        decode("image", data[: len(data) // 2], name=name)


def test_text_called_png_is_invalid():
    with pytest.raises(InvalidMedia, match=r"a\.png is named \.png but holds text"):
        decode("image", b"hello", name="a.png")


def test_another_modality_is_invalid():
    with pytest.raises(InvalidMedia, match="is audio/wav, not an image"):
        decode("image", samples.file("audio", "a.wav"))

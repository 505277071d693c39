"""Augmented pictures: what the image student sees, drawn at random from the data folder's images.

Given decoded pictures and a random generator, `picture_view` gives back one RGB array. Emoji are set
on backgrounds (plain, gradients, noise, pieces of photographs), several at a time; any two views may
be blended or cut into each other. The teacher answers for the mixed picture, so no view needs a
label, and odd mixtures are as good as clean ones: they show the student more of the function that it
has to match (Beyer et al. 2021, "A good teacher is patient and consistent").
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageEnhance, ImageFilter

Pixels = npt.NDArray[np.uint8]


def load_picture(path: object) -> Image.Image:
    """A picture as RGBA."""
    with Image.open(str(path)) as image:
        return image.convert("RGBA")


def flatten(image: Image.Image, colour: tuple[int, int, int] = (255, 255, 255)) -> Image.Image:
    """Lay a picture on a plain ground: RGB."""
    ground = Image.new("RGBA", image.size, (*colour, 255))
    ground.alpha_composite(image)
    return ground.convert("RGB")


def is_opaque(image: Image.Image) -> bool:
    """Whether an RGBA picture has no transparent pixel."""
    return image.getchannel("A").getextrema()[0] == 255


def random_crop(image: Image.Image, side: int, rng: np.random.Generator) -> Image.Image:
    """A crop of 20 to 100 % of the area, aspect 2:3 to 3:2, resized to a square."""
    width, height = image.size
    area = width * height * rng.uniform(0.2, 1.0)
    aspect = np.exp(rng.uniform(np.log(2 / 3), np.log(3 / 2)))
    w = int(np.clip(round(float(np.sqrt(area * aspect))), 8, width))
    h = int(np.clip(round(float(np.sqrt(area / aspect))), 8, height))
    x, y = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
    return image.resize((side, side), Image.Resampling.BILINEAR, box=(x, y, x + w, y + h))


def background(pictures: Sequence[Image.Image], side: int, rng: np.random.Generator) -> Image.Image:
    """A ground to set things on: plain, a gradient, smooth noise, or a piece of a picture."""
    kind = rng.random()
    if kind < 0.3:
        level = rng.integers(0, 256, 3) if rng.random() < 0.6 else np.full(3, rng.integers(160, 256))
        colour = (int(level[0]), int(level[1]), int(level[2]))
        return Image.new("RGB", (side, side), colour)
    if kind < 0.6:
        cells = int(rng.integers(2, 24))
        noise = rng.integers(0, 256, (cells, cells, 3)).astype(np.uint8)
        if rng.random() < 0.5:  # one hue, varying light
            tone = rng.uniform(0.2, 1.0, 3)
            noise = (noise[:, :, :1] * tone).astype(np.uint8)
        return Image.fromarray(noise).resize((side, side), Image.Resampling.BICUBIC)
    return random_crop(flatten(pictures[int(rng.integers(len(pictures)))]), side, rng)


def paste(ground: Image.Image, sticker: Image.Image, rng: np.random.Generator, smallest: float) -> None:
    """Set a transparent picture on the ground, somewhere, turned a little."""
    side = ground.size[0]
    size = int(side * rng.uniform(smallest, 1.15))
    turned = sticker.resize((size, size), Image.Resampling.BILINEAR)
    if rng.random() < 0.5:
        turned = turned.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if rng.random() < 0.4:
        turned = turned.rotate(float(rng.uniform(-25, 25)), Image.Resampling.BILINEAR)
    slack = side - size
    low, high = min(0, slack), max(0, slack)
    x, y = int(rng.integers(low, high + 1)), int(rng.integers(low, high + 1))
    ground.paste(turned.convert("RGB"), (x, y), turned.getchannel("A"))


def scene(pictures: Sequence[Image.Image], index: int, side: int, rng: np.random.Generator) -> Image.Image:
    """One picture, cropped; or, if it is transparent, set on a ground, at times with others."""
    image = pictures[index]
    if is_opaque(image):
        return random_crop(flatten(image), side, rng)
    ground = background(pictures, side, rng)
    paste(ground, image, rng, 0.45)
    while rng.random() < 0.25:
        other = pictures[int(rng.integers(len(pictures)))]
        if not is_opaque(other):
            paste(ground, other, rng, 0.2)
    return ground


def recolour(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Vary light, contrast and colour; now and then blur, drop colour, add noise."""
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        if rng.random() < 0.6:
            image = enhance(image).enhance(float(rng.uniform(0.55, 1.45)))
    if rng.random() < 0.15:
        image = image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.5, 2.5))))
    if rng.random() < 0.08:
        image = image.convert("L").convert("RGB")
    if rng.random() < 0.25:  # shift the hue
        hue, saturation, value = image.convert("HSV").split()
        turned = Image.fromarray(np.asarray(hue) + np.uint8(rng.integers(256)))
        image = Image.merge("HSV", (turned, saturation, value)).convert("RGB")
    return image


def picture_view(pictures: Sequence[Image.Image], index: int, side: int, rng: np.random.Generator) -> Pixels:
    """One view of picture `index`: uint8 [side, side, 3]."""
    image = recolour(scene(pictures, index, side, rng), rng)
    mix = rng.random()
    if mix < 0.35:
        other = recolour(scene(pictures, int(rng.integers(len(pictures))), side, rng), rng)
        if mix < 0.15:
            image = Image.blend(image, other, float(rng.uniform(0.1, 0.5)))
        else:
            w, h = (int(side * rng.uniform(0.25, 0.75)) for _ in range(2))
            x, y = int(rng.integers(side - w + 1)), int(rng.integers(side - h + 1))
            image.paste(other.resize((w, h), Image.Resampling.BILINEAR), (x, y))
    if rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    pixels = np.asarray(image)
    if rng.random() < 0.15:
        noise = rng.normal(0, rng.uniform(3, 20), pixels.shape)
        pixels = np.clip(pixels + noise, 0, 255).astype(np.uint8)
    return pixels

"""Makes the gallery's media and their list anew, in `service/gallery` unless another folder is named.

Everything is drawn, traced or synthesised from the code beside this file and from fixed seeds, so the
same libraries give the same media, but for the serial numbers of Ogg streams,
which are random. Nothing is read but the code.
"""

import argparse
import hashlib
import io
import json
import zlib
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import soundfile

from gallery_maker import ambience, sounds
from gallery_maker.animals import ANIMALS
from gallery_maker.furnishings import FURNISHINGS
from gallery_maker.picture import render
from gallery_maker.shape import FORMATS, write
from gallery_maker.synthesis import RATE, Sound, finished
from gallery_maker.texts import PICTURE_CAPTIONS, SENTENCES, SHAPE_CAPTIONS, SOUND_CAPTIONS
from gallery_maker.things import THINGS
from gallery_maker.vehicles import VEHICLES
from service.gallery.items import FOLDER

FIGURES = ANIMALS | VEHICLES | THINGS | FURNISHINGS
SOUNDS: dict[str, Callable[[np.random.Generator], Sound]] = {
    "dog": sounds.dog,
    "cat": sounds.cat,
    "cow": sounds.cow,
    "bird": sounds.bird,
    "rooster": sounds.rooster,
    "frog": sounds.frog,
    "siren": sounds.siren,
    "train": ambience.train,
    "helicopter": ambience.helicopter,
    "car": ambience.engine,
    "bell": sounds.bell,
    "clock": ambience.ticking,
    "rain": ambience.rain,
    "storm": ambience.thunder,
    "sea": ambience.waves,
    "fire": ambience.fire,
    "door": ambience.knocking,
    "keyboard": ambience.typing,
    "phone": sounds.phone,
    "sword": sounds.sword,
    "glass": ambience.glass,
}
SOUND_FORMATS = {"clock": "wav", "door": "flac", "cow": "mp3"}
"""Sounds that are not Ogg Vorbis, so that the gallery tries every common format."""


def sound(name: str) -> tuple[str, bytes]:
    """A sound's file name and bytes."""
    samples = finished(SOUNDS[name](np.random.default_rng(zlib.crc32(name.encode()))))
    suffix = SOUND_FORMATS.get(name, "ogg")
    options = {"format": suffix.upper()}
    if suffix == "ogg":
        options["subtype"] = "VORBIS"
    elif suffix != "mp3":
        options["subtype"] = "PCM_16"
        samples = samples[: round(2.0 * RATE)] if suffix == "wav" else samples
    buffer = io.BytesIO()
    soundfile.write(buffer, samples.astype(np.float32), RATE, **options)
    return f"sounds/{name}.{suffix}", buffer.getvalue()


def picture(name: str) -> tuple[str, bytes]:
    """A picture's file name and bytes."""
    buffer = io.BytesIO()
    suffix = {"bell": "png", "door": "jpg", "phone": "jpg"}.get(name, "webp")
    image = render(FIGURES[name])
    if suffix == "png":
        image.quantize(128).save(buffer, "PNG", optimize=True)
    else:
        image.save(buffer, "JPEG" if suffix == "jpg" else "WEBP", quality=88)
    return f"pictures/{name}.{suffix}", buffer.getvalue()


def shape(name: str) -> tuple[str, bytes]:
    """A shape's file name and bytes."""
    suffix = FORMATS[list(SHAPE_CAPTIONS).index(name) % len(FORMATS)]
    return f"shapes/{name}.{suffix}", write(FIGURES[name], suffix, zlib.crc32(name.encode()))


KINDS = {
    "audio": (sound, SOUND_CAPTIONS),
    "image": (picture, PICTURE_CAPTIONS),
    "point_cloud": (shape, SHAPE_CAPTIONS),
}


def main() -> None:
    """Write the media and `gallery.json`."""
    parser = argparse.ArgumentParser(prog="python -m gallery_maker", description=__doc__)
    parser.add_argument("--only", choices=sorted(KINDS), help="make the files of one kind anew")
    parser.add_argument(
        "--folder", type=Path, default=FOLDER, help="where to write (default: service/gallery)"
    )
    arguments = parser.parse_args()
    listing = arguments.folder / "gallery.json"
    known = {}
    if listing.is_file():
        known = {entry["id"]: entry for entry in json.loads(listing.read_text())["items"]}
    items = [
        {
            "id": f"text/{name}",
            "modality": "text",
            "name": name,
            "text": text,
            "sha256": hashlib.sha256(text.encode()).hexdigest(),
        }
        for name, text in SENTENCES.items()
    ]
    for modality, (make, captions) in KINDS.items():
        if arguments.only in (None, modality):
            with ProcessPoolExecutor() as pool:
                made = list(pool.map(make, captions))
        for position, (name, caption) in enumerate(captions.items()):
            identifier = f"{modality}/{name}"
            if arguments.only not in (None, modality):
                items.append(known[identifier])
                continue
            path, data = made[position]
            target = arguments.folder / "media" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
            items.append(
                {
                    "id": identifier,
                    "modality": modality,
                    "name": name,
                    "caption": caption,
                    "file": f"media/{path}",
                    "sha256": hashlib.sha256(data).hexdigest(),
                }
            )
    listing.write_text(json.dumps({"format": "isthmus.gallery/1", "items": items}, indent=1) + "\n")

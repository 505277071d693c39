"""The data folder's pictures, sound clips and point clouds, read from its tables.

Given the folder that `make train-compact DATA=...` names, it gives back plain records in a fixed
order. It decodes nothing but the point clouds; `group` on each record is the unit that a split may
not cut through (a recording, a mesh and its copies, a concept), as `data_folder_split` uses it.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from training.readers.reader import read_table

_GENDERED = re.compile(r"\b(man|woman|men|women|person|people|boy|girl|male|female)s?\b")


@dataclass(frozen=True, slots=True)
class Picture:
    """One image file: `kind` is emoji, render or photo; `words` are its name and keywords."""

    path: Path
    kind: str
    name: str
    words: tuple[str, ...]
    concept: str
    group: str
    mesh: str = ""


@dataclass(frozen=True, slots=True)
class Clip:
    """One sound file; `kind` is esc or sounds, `name` its label in plain words."""

    path: Path
    kind: str
    name: str
    concept: str
    group: str


@dataclass(frozen=True, slots=True)
class Cloud:
    """One point cloud: row `index` of the array, the mesh it was sampled from and its name."""

    index: int
    mesh: str
    name: str
    concept: str
    group: str


def plain(label: str) -> str:
    """A label in lower-case words: `door_wood_knock` -> `door wood knock`."""
    return re.sub(r"[\s_\-]+", " ", label).strip().lower()


def read_clouds(data: Path) -> list[Cloud]:
    """Point clouds, grouped so that copies of one shape stay together.

    Names that also sound are split by shape, all others by name within an artist, so that a held-out
    name is new to that artist's style.
    """
    rows = read_table(data / "pointclouds" / "meta.csv")
    parent: dict[str, str] = {}

    def root(key: str) -> str:
        parent.setdefault(key, key)
        while parent[key] != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    for row in rows:
        shape = root(f"shape:{row['shape']}")
        if row["split_by"] == "name":
            parent[shape] = root(f"name:{row['artist']}:{row['name']}")
    return [
        Cloud(int(r["index"]), r["mesh_id"], plain(r["name"]), r["concept"], root(f"shape:{r['shape']}"))
        for r in rows
    ]


def read_points(data: Path) -> npt.NDArray[np.float32]:
    """Coordinates of all clouds: float32 [clouds, 2048, 3], y up."""
    with np.load(data / "pointclouds" / "train.npz", allow_pickle=False) as arrays:
        return np.asarray(arrays["xyz"], dtype=np.float32)


def read_pictures(data: Path) -> list[Picture]:
    """Pictures: emoji, renders, photographs.

    Emoji are grouped by concept, else by name without gender; renders by mesh group; clothes by their
    sender, waste by file, all other photographs by label.
    """
    mesh_group = {cloud.mesh: cloud.group for cloud in read_clouds(data)}
    images = data / "images"
    pictures = []
    for r in read_table(images / "emoji" / "meta.csv"):
        stem = _GENDERED.sub("", plain(r["name"])).strip() or plain(r["name"])
        words = (plain(r["name"]), *(plain(w) for w in r["keywords"].split(";") if w))
        group = f"concept:{r['concept']}" if r["concept"] else f"emoji:{stem}"
        pictures.append(Picture(images / "emoji" / r["file"], "emoji", words[0], words, r["concept"], group))
    for r in read_table(images / "renders" / "meta.csv"):
        name = plain(r["name"])
        group = mesh_group.get(r["mesh_id"], f"mesh:{r['mesh_id']}")
        pictures.append(
            Picture(
                images / "renders" / r["file"], "render", name, (name,), r["concept"], group,
                r["mesh_id"],
            )
        )  # fmt: skip
    for r in read_table(images / "photos" / "meta.csv"):
        words = photo_words(r["label"], r["source"])
        sender = re.search(r"sender (\d+)", r["attribution"])
        group = f"photo:{r['source']}:{r['label']}"
        if sender:
            group = f"sender:{sender.group(1)}"
        elif r["source"] == "trashnet":
            group = f"photo:{r['file']}"
        pictures.append(Picture(images / "photos" / r["file"], "photo", words[0], words, "", group))
    return pictures


def photo_words(label: str, source: str) -> tuple[str, ...]:
    """Plain words of a photo's label, most telling first.

    A grocery label reads `Variety (Kind, Family)`: the kind is what the picture shows, and brands
    of the variety are left out where the family is Packages.
    """
    head, _, tail = label.partition("(")
    inner = [plain(part) for part in tail.rstrip(") ").split(",") if part.strip()]
    if source != "GroceryStoreDataset":
        return (plain(head), *(w for w in inner if source == "clothing-dataset" and w == "kids"))
    if inner and inner[-1] == "packages":
        return (inner[0], "carton")
    return (plain(head), *inner)


def read_clips(data: Path) -> list[Clip]:
    """ESC clips and named sounds, grouped by the recording they were cut from."""
    clips = []
    for kind, column in (("esc", "label"), ("sounds", "words")):
        folder = data / "audio" / kind
        for r in read_table(folder / "meta.csv"):
            clips.append(Clip(folder / r["file"], kind, plain(r[column]), r["concept"], r["source_id"]))
    return clips

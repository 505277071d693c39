"""ModelNet40 (Wu et al. 2015) and Objaverse-LVIS (Deitke et al. 2023): shapes, for zero-shot classification.

Both are often passed on as pickles (`.dat`, and `.npy` with objects inside); those run code when they are
opened and are not read. The original meshes and plain tables of points are.
"""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from connectors.errors import ConfigError, MissingFiles
from training.examples import Example
from training.inputs import SUFFIXES
from training.readers.reader import Dataset, Reader, files_by_stem, first_of, in_use, read_json, words

TEMPLATES = ("a point cloud model of {}.",)
MODELNET_NAMES = "modelnet40_shape_names.txt"
LVIS_ANNOTATIONS = ("lvis-annotations.json.gz", "lvis-annotations.json")
OBJECT_PATHS = ("object-paths.json.gz", "object-paths.json")


def read_modelnet40(root: Path) -> list[Dataset]:
    """The test shapes, of the resampled release (tables of points) or the original one (meshes)."""
    clouds = list(_resampled(root) if (root / MODELNET_NAMES).is_file() else _meshes(root))
    if not clouds:
        raise MissingFiles(f"{root} has no test shapes: {MODELNET40.layout}")
    return [Dataset("ModelNet40", {"point_cloud": clouds}, in_use(clouds), TEMPLATES)]


def _resampled(root: Path) -> Iterator[Example]:
    for line in (root / "modelnet40_test.txt").read_text(encoding="utf-8").split():
        category = line.rsplit("_", 1)[0]
        yield Example(line, source=root / category / f"{line}.txt", label=words(category))


def _meshes(root: Path) -> Iterator[Example]:
    for path in sorted(root.glob("*/test/*.off")):
        yield Example(path.stem, source=path, label=words(path.parts[-3]))


def read_objaverse_lvis(root: Path) -> list[Dataset]:
    """Objects with an LVIS category: Objaverse's own annotations and .glb files, or a split file `lvis.json`.

    Renders named by the objects' uids below `images` or `renders` make a picture of each, for retrieval.
    """
    split = root / "lvis.json"
    clouds = list(_from_split(split) if split.is_file() else _from_annotations(root))
    pictures: list[Example] = []
    folder = first_of(root, "images", "renders")
    if folder is not None:
        rendered = files_by_stem(folder, SUFFIXES["image"])
        pictures = [
            Example(cloud.id, source=rendered[cloud.id], label=cloud.label)
            for cloud in clouds
            if cloud.id in rendered
        ]
    return [Dataset("Objaverse-LVIS", {"point_cloud": clouds, "image": pictures}, in_use(clouds), TEMPLATES)]


def _from_split(split: Path) -> Iterator[Example]:
    for entry in read_json(split):
        source = split.parent / str(entry["data_path"]).lstrip("/")
        yield Example(entry["uid"], source=source, label=words(entry["category"]))


def _from_annotations(root: Path) -> Iterator[Example]:
    categories = _read_gzipped(root, LVIS_ANNOTATIONS)
    paths = _read_gzipped(root, OBJECT_PATHS)
    for category, uids in categories.items():
        for uid in uids:
            if uid in paths:
                yield Example(uid, source=root / paths[uid], label=words(category))


def _read_gzipped(root: Path, names: tuple[str, ...]) -> dict[str, Any]:
    path = first_of(root, *names)
    if path is None:
        raise MissingFiles(f"{root} has none of {', '.join(names)}")
    data = path.read_bytes()
    try:
        content = json.loads(gzip.decompress(data) if path.suffix == ".gz" else data)
    except (ValueError, OSError) as error:
        raise ConfigError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} is not a JSON object")
    return content


MODELNET40 = Reader(
    layout=f"{MODELNET_NAMES}, modelnet40_test.txt and <class>/<shape>.txt, or <class>/test/*.off",
    recognises=lambda root: (
        (root / MODELNET_NAMES).is_file() or next(root.glob("*/test/*.off"), None) is not None
    ),
    read=read_modelnet40,
)
OBJAVERSE_LVIS = Reader(
    layout="lvis-annotations.json.gz, object-paths.json.gz and glbs/, or lvis.json (uid, category, ...)",
    recognises=lambda root: first_of(root, "lvis.json", *LVIS_ANNOTATIONS) is not None,
    read=read_objaverse_lvis,
)

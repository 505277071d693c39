"""COCO captions (Chen et al. 2015) and Flickr30K (Young et al. 2014): pictures with five captions each.

Both are read in Karpathy's split (`dataset_coco.json`, `dataset_flickr30k.json`), which the papers use; COCO
also in its own annotation files.
"""

from pathlib import Path
from typing import Any

from connectors.errors import MissingFiles
from training.examples import Example
from training.readers.reader import Dataset, Reader, first_of, read_json

COCO_ANNOTATIONS = ("annotations/captions_val2017.json", "annotations/captions_val2014.json")


def read_karpathy(name: str, split_file: Path, folders: tuple[str, ...]) -> list[Dataset]:
    """The test pictures of a Karpathy split, found in their `filepath` or one of `folders`."""
    root = split_file.parent
    pictures, captions = [], []
    for entry in read_json(split_file)["images"]:
        if entry["split"] != "test":
            continue
        places = (f"{folder}/{entry['filename']}" for folder in (entry.get("filepath", "."), *folders))
        source = first_of(root, *places) or root / folders[0] / entry["filename"]
        pictures.append(Example(entry["filename"], source=source))
        captions += [Example(entry["filename"], text=s["raw"]) for s in entry["sentences"]]
    return [Dataset(name, {"image": pictures, "text": captions})]


def read_coco(root: Path) -> list[Dataset]:
    """Karpathy's 5,000 test pictures where his split is there, else COCO's own validation set."""
    if (root / "dataset_coco.json").is_file():
        return read_karpathy("COCO", root / "dataset_coco.json", ("val2014", "images"))
    annotations = first_of(root, *COCO_ANNOTATIONS)
    if annotations is None:
        raise MissingFiles(f"{root} has neither dataset_coco.json nor {' or '.join(COCO_ANNOTATIONS)}")
    folder = annotations.stem.removeprefix("captions_")
    content: dict[str, list[dict[str, Any]]] = read_json(annotations)
    images = root / "images" / folder if (root / "images" / folder).is_dir() else root / folder
    pictures = [Example(str(i["id"]), source=images / i["file_name"]) for i in content["images"]]
    captions = [Example(str(a["image_id"]), text=a["caption"]) for a in content["annotations"]]
    return [Dataset("COCO", {"image": pictures, "text": captions})]


def read_flickr30k(root: Path) -> list[Dataset]:
    """Karpathy's 1,000 test pictures."""
    return read_karpathy(
        "Flickr30K", root / "dataset_flickr30k.json", ("flickr30k-images", "flickr30k_images", "images")
    )


COCO = Reader(
    layout="dataset_coco.json and val2014/*.jpg, or annotations/captions_val2017.json and val2017/*.jpg",
    recognises=lambda root: first_of(root, "dataset_coco.json", *COCO_ANNOTATIONS) is not None,
    read=read_coco,
)
FLICKR30K = Reader(
    layout="dataset_flickr30k.json and flickr30k-images/*.jpg",
    recognises=lambda root: (root / "dataset_flickr30k.json").is_file(),
    read=read_flickr30k,
)

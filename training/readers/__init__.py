"""Readers of the papers' benchmarks, each given a local copy in the benchmark's own layout."""

from collections.abc import Mapping
from pathlib import Path

from connectors.errors import ConfigError, MissingFiles
from training.readers.audio_captions import AUDIOCAPS, CLOTHO
from training.readers.audio_visual import AVE, FLICKRNET, VGGSS
from training.readers.data_folder import DATA_FOLDER, WHOLE_DATA_FOLDER
from training.readers.esc50 import ESC50
from training.readers.image_captions import COCO, FLICKR30K
from training.readers.jsonl import JSONL
from training.readers.reader import Dataset, Reader
from training.readers.shapes import MODELNET40, OBJAVERSE_LVIS

__all__ = ["READERS", "Dataset", "Reader", "read_dataset"]

READERS: Mapping[str, Reader] = {
    "audiocaps": AUDIOCAPS,
    "ave": AVE,
    "clotho": CLOTHO,
    "coco": COCO,
    "data-folder": DATA_FOLDER,
    "data-folder-all": WHOLE_DATA_FOLDER,
    "esc50": ESC50,
    "flickr30k": FLICKR30K,
    "vggss": VGGSS,
    "flickrnet": FLICKRNET,
    "jsonl": JSONL,
    "modelnet40": MODELNET40,
    "objaverse-lvis": OBJAVERSE_LVIS,
}
"""By name, in the order they are tried."""


def read_dataset(root: Path, name: str | None = None) -> list[Dataset]:
    """Read a local copy with the named reader, or the first that recognises it.

    Raises `MissingFiles` or `ConfigError`, telling the layouts that are known.
    """
    if not root.exists():
        raise MissingFiles(f"{root} does not exist")
    if name is not None and name not in READERS:
        raise ConfigError(f"unknown dataset {name!r}: it is one of {', '.join(READERS)}")
    chosen = name or next((key for key, reader in READERS.items() if reader.recognises(root)), None)
    if chosen is None:
        layouts = "\n".join(f"  {key}: {reader.layout}" for key, reader in READERS.items())
        raise ConfigError(f"{root} is laid out like no dataset known here:\n{layouts}")
    reader = READERS[chosen]
    try:
        return reader.read(root)
    except (KeyError, TypeError, OSError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise ConfigError(f"{root} is not laid out as {chosen} ({reader.layout}): {reason}") from error

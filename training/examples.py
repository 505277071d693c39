"""An example: one text or one place in a file, with what it is called and what it shows.

Datasets and extraction inputs are lists of these; `load` turns one into decoded media. A file may hold
one example, one a row (a stack of point clouds), or one a span of time (a video's event, whose picture is
the frame in its middle).
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from connectors import media
from connectors.errors import InvalidMedia
from connectors.modality import SAMPLE_RATE, Media, Modality
from training import video
from training.feature_set import Item


@dataclass(frozen=True, slots=True)
class Example:
    """One thing to embed. Examples of one `id` in several modalities show the same thing."""

    id: str
    text: str | None = None
    source: Path | None = None
    label: str | None = None
    row: int | None = None
    """Row of `source`, where it stacks several."""
    span: tuple[float, float] | None = None
    """Start and end in `source`, in seconds."""
    group: str | None = None
    """What it was made from, where others were too: a recording, a mesh. Intervals draw groups whole."""

    def item(self, root: Path | None = None) -> Item:
        """The example as a feature set keeps it, its path relative to `root` where it lies below."""
        item: Item = {"id": self.id}
        if self.text is not None:
            item["text"] = self.text
        if self.source is not None:
            below = root is not None and self.source.is_relative_to(root)
            path = self.source.relative_to(root) if below and root is not None else self.source
            item["source"] = path.as_posix()
        if self.label is not None:
            item["label"] = self.label
        if self.row is not None:
            item["row"] = self.row
        if self.span is not None:
            item["span"] = list(self.span)
        if self.group is not None:
            item["group"] = self.group
        return item


def load(example: Example, modality: Modality) -> Media:
    """Read and decode one example. Raises `MediaError` for whatever is wrong with it."""
    if example.text is not None:
        return media.decode("text", example.text.encode(), name=example.id)
    if example.source is None:
        raise InvalidMedia(f"{example.id} has neither a text nor a source")
    try:
        if example.row is not None:
            return np.asarray(stack(example.source)[example.row], dtype=np.float32)
        if modality == "image" and example.source.suffix.lower() in video.SUFFIXES:
            middle = None if example.span is None else sum(example.span) / 2
            return video.frame(example.source, middle)
        data = example.source.read_bytes()
    except OSError as error:
        raise InvalidMedia(f"{example.source} cannot be read: {error.strerror or error}") from error
    # ModelNet's clouds are comma-separated tables named .txt, which elsewhere means prose.
    is_table = modality == "point_cloud" and example.source.suffix == ".txt"
    name = example.source.with_suffix(".csv").name if is_table else example.source.name
    decoded = media.decode(modality, data, name=name)
    if modality == "audio" and example.span is not None and isinstance(decoded, np.ndarray):
        start, end = (round(seconds * SAMPLE_RATE) for seconds in example.span)
        decoded = decoded[start:end]
        if not len(decoded):
            raise InvalidMedia(
                f"{example.source} ends before {example.span[0]:g} s, where {example.id} starts"
            )
    return decoded


@lru_cache(maxsize=2)
def stack(path: Path) -> npt.NDArray[Any]:
    """Point clouds stacked in one .npy or .npz file: [N, points, 3]; in an .npz the array `xyz`.

    Raises `InvalidMedia` for a file that holds no such stack.
    """
    try:
        opened = np.load(path, allow_pickle=False)
        if not isinstance(opened, np.ndarray):
            with opened as arrays:
                opened = arrays["xyz"]
    except (ValueError, KeyError, EOFError) as error:
        raise InvalidMedia(f"{path} is not a stack of point clouds: {error}") from error
    if opened.ndim != 3 or opened.shape[2] != 3:
        raise InvalidMedia(f"{path} holds an array {opened.shape}, not [clouds, points, 3]")
    array: npt.NDArray[Any] = opened
    return array

"""Any dataset as JSONL: one thing a line, with a key for each modality it is seen in.

    {"id": "7", "label": "dog", "text": ["a dog barks", "barking"], "image": "img/7.jpg", "audio": "7.wav"}

Every key is optional; a list gives several examples of the one thing, and `group` names what several things
were made from, such as a recording. Paths are relative to the file.
"""

from collections import defaultdict
from pathlib import Path
from typing import Any

from connectors.errors import ConfigError
from connectors.modality import MODALITIES, Modality
from training.examples import Example
from training.inputs import read_rows
from training.readers.reader import Dataset, Reader, in_use

FILE = "dataset.jsonl"


def read(root: Path) -> list[Dataset]:
    """Read `dataset.jsonl` in a folder, or the file itself."""
    path = root / FILE if root.is_dir() else root
    examples: dict[Modality, list[Example]] = defaultdict(list)
    for line, row in read_rows(path):
        unknown = set(row) - {"id", "label", "group", *MODALITIES}
        if unknown:
            raise ConfigError(
                f"{path}, line {line}: unknown keys {sorted(unknown)}; known are id, label, "
                f"group, {', '.join(MODALITIES)}"
            )
        identity = str(row.get("id", line))
        label, group = (None if row.get(key) is None else str(row[key]) for key in ("label", "group"))
        for modality in MODALITIES:
            for value in _values(row.get(modality), path, line, modality):
                examples[modality].append(
                    Example(
                        identity,
                        text=value if modality == "text" else None,
                        source=None if modality == "text" else path.parent / value,
                        label=label,
                        group=group,
                    )
                )
    if not examples:
        raise ConfigError(f"{path} holds no examples")
    classes = in_use([example for part in examples.values() for example in part])
    return [Dataset(path.parent.name if path.name == FILE else path.stem, dict(examples), classes)]


def _values(value: Any, path: Path, line: int, modality: str) -> list[str]:
    values = value if isinstance(value, list) else [] if value is None else [value]
    if not all(isinstance(each, str) for each in values):
        raise ConfigError(f"{path}, line {line}: {modality} must be a string or a list of them")
    return values


JSONL = Reader(
    layout=f"{FILE}, or a .jsonl file: a line holds text, image, audio, point_cloud, id, label, group",
    recognises=lambda root: (root / FILE).is_file() or (root.suffix == ".jsonl" and root.is_file()),
    read=read,
)

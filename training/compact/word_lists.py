"""The data folder's words, read: WordNet's nouns, class names with their CLIP vectors, captions of sounds."""

import gzip
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from training.readers.data_folder_records import plain


@dataclass(frozen=True, slots=True)
class Synset:
    """A WordNet noun sense: lemmas, gloss, the first lemmas of its hypernyms, lexicographer group."""

    lemmas: tuple[str, ...]
    gloss: str
    hypernyms: tuple[str, ...]
    domain: str


def read_synsets(data: Path) -> list[Synset]:
    """WordNet's noun senses."""
    with gzip.open(data / "text" / "wordnet_nouns.jsonl.gz", "rt", encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines]
    return [
        Synset(
            tuple(plain(w) for w in r["lemmas"]),
            r["gloss"],
            tuple(plain(w) for w in r["hypernyms"]),
            r["group"],
        )
        for r in records
    ]


def read_clip_names(data: Path) -> tuple[list[str], npt.NDArray[np.float32]]:
    """Class names and their real CLIP ViT-B/32 text vectors: float32 [n, 512], not normalised.

    A name that several lists hold comes once, with the mean of its normalised vectors.
    """
    with np.load(data / "text" / "clip_names.npz", allow_pickle=False) as arrays:
        names = [plain(str(name)) for name in arrays["names"]]
        vectors = np.asarray(arrays["vectors"], dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    order = list(dict.fromkeys(names))
    rows = {name: k for k, name in enumerate(order)}
    merged = np.zeros((len(order), vectors.shape[1]), dtype=np.float32)
    np.add.at(merged, [rows[name] for name in names], vectors)
    return order, merged


def read_captions(data: Path) -> list[str]:
    """AudioCaps captions of sounds (training set)."""
    text = (data / "text" / "audiocaps_train.txt").read_text(encoding="utf-8")
    return [line.strip() for line in text.splitlines() if line.strip()]

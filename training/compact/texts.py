"""The words of the data folder, gathered: the lexicon, class-name lists, captions, prompts.

Given the folder and the pictures and clips that train, it gives back the `Lexicon` and the texts that the
text tower is taught on and that connectors are made from. Nothing here looks at a picture or a sound.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from training.compact.word_graph import CONCRETE, Lexicon, build_lexicon, centred_names
from training.compact.word_lists import Synset, read_captions, read_clip_names, read_synsets
from training.readers.data_folder_records import plain, read_pictures
from training.readers.reader import read_json

TEMPLATES = (
    "{}", "{}", "{}", "a {}", "the {}", "a photo of a {}", "a photo of a {}.", "a picture of a {}",
    "an image of a {}", "the sound of a {}", "the sound of {}", "this is a sound of {}", "{} sound",
    "a point cloud of a {}", "a 3d model of a {}", "a rendering of a {}", "{}s",
)  # fmt: skip


@dataclass(frozen=True)
class Texts:
    """`names` are class names and keywords of every list; `nouns` concrete WordNet lemmas."""

    lexicon: Lexicon
    names: tuple[str, ...]
    nouns: tuple[str, ...]
    captions: tuple[str, ...]
    glosses: tuple[str, ...]


def class_names(data: Path) -> list[str]:
    """Names of all class lists of the folder, plain, each once: sounds first, then things."""
    text, teachers = data / "text", data / "teachers"
    out: list[str] = []
    for names in read_json(text / "clap_class_labels.json").values():
        out += list(names)
    out += [row["name"] for row in read_json(text / "vggsound_names.json")]
    ontology = read_json(text / "audioset_ontology.json")
    out += [row["name"] for row in ontology]
    out += read_json(teachers / "yamnet_classes.json")
    out += read_json(teachers / "imagenet_classes.json")
    for entry in read_json(text / "clip_prompts.json").values():
        out += [name for name in entry["classes"] if isinstance(name, str)]
    shapes = read_json(text / "modelnet40_names.json")
    out += list(shapes["classes"] if isinstance(shapes, dict) and "classes" in shapes else [])
    out += read_clip_names(data)[0]
    return list(dict.fromkeys(plain(name) for name in out if name.strip()))


def read_lexicon(data: Path, dim: int) -> Lexicon:
    """Spread the CLIP names over WordNet, captions, AudioSet's descriptions and emoji keywords."""
    names, vectors = read_clip_names(data)
    ontology = read_json(data / "text" / "audioset_ontology.json")
    keywords = [(p.words[0], p.words[1:]) for p in read_pictures(data) if p.kind == "emoji"]
    return build_lexicon(
        names,
        centred_names(vectors, dim),
        read_synsets(data),
        read_captions(data),
        keywords,
        [(plain(row["name"]), row["description"]) for row in ontology],
    )


def gather_texts(data: Path, lexicon: Lexicon, labels: Sequence[str]) -> Texts:
    """Every text worth teaching; `labels` are the names and keywords of training media."""
    synsets = read_synsets(data)
    names = list(dict.fromkeys([*labels, *class_names(data)]))
    return Texts(
        lexicon,
        tuple(name for name in names if lexicon.phrases(name)),
        tuple(dict.fromkeys(lemma for s in concrete(synsets) for lemma in s.lemmas)),
        tuple(read_captions(data)),
        tuple(s.gloss for s in concrete(synsets)),
    )


def concrete(synsets: Sequence[Synset]) -> list[Synset]:
    """Senses of things one can see or hear."""
    return [s for s in synsets if s.domain in CONCRETE]

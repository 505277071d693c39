"""The validation set through a bundle's encoders: native vectors of media that no step trained on.

Given a workshop and the three loaded encoders, it gives back, for each space and modality, vectors with the
concept, name and mesh of each row, and the teachers' class scores as vectors for the baseline.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from torch import Tensor
from torch.nn import functional as F

from connectors.connector import Connector
from connectors.encoders.compact.encoder import CompactEncoder
from connectors.modality import SAMPLE_RATE, Modality, Waveform
from training.compact.alignment import score_words
from training.compact.media_features import teacher_clips, teacher_pictures
from training.compact.picture_views import flatten, load_picture
from training.compact.teachers import MobileNetV2, YamNet
from training.compact.workshop import Workshop
from training.readers.data_folder_records import Clip, Picture, read_points


@dataclass(frozen=True)
class View:
    """Vectors [n, d] of one modality, and what each row is."""

    vectors: Tensor
    concepts: tuple[str, ...]
    names: tuple[str, ...]
    meshes: tuple[str, ...] = ()

    def where(self, keep: Sequence[bool]) -> "View":
        """The rows that are kept."""
        rows = [k for k, kept in enumerate(keep) if kept]
        return View(
            self.vectors[rows],
            tuple(self.concepts[k] for k in rows),
            tuple(self.names[k] for k in rows),
            tuple(self.meshes[k] for k in rows) if self.meshes else (),
        )

    def with_concept(self) -> "View":
        """The rows that have a concept."""
        return self.where([bool(concept) for concept in self.concepts])


def projected(view: View, connector: Connector, space: str, modality: Modality) -> View:
    """A view in the unified space."""
    return View(connector.project(space, modality, view.vectors), view.concepts, view.names, view.meshes)


def waveform(path: Path) -> Waveform:
    """A sound file as decoded media: mono at 48 kHz."""
    wave, rate = soundfile.read(path, dtype="float32", always_2d=True)
    mono = soxr.resample(wave.mean(axis=1), rate, SAMPLE_RATE)
    return np.asarray(mono, dtype=np.float32)


def encode_pictures(encoder: CompactEncoder, pictures: Sequence[Picture]) -> Tensor:
    """Native vectors of pictures on white."""
    parts = [
        encoder.encode([flatten(load_picture(p.path)) for p in pictures[k : k + 64]], "image")
        for k in range(0, len(pictures), 64)
    ]
    return torch.cat(parts)


def encode_texts(encoder: CompactEncoder, texts: Sequence[str]) -> Tensor:
    """Native vectors of texts, taken by length so that little is padding."""
    order = sorted(range(len(texts)), key=lambda k: len(texts[k]))
    out = torch.zeros(len(texts), encoder.dim)
    out[order] = encoder.encode([texts[k] for k in order], "text", 128)
    return out


def encode_clips(encoder: CompactEncoder, clips: Sequence[Clip]) -> Tensor:
    """Native vectors of clips."""
    parts = [
        encoder.encode([waveform(c.path) for c in clips[k : k + 32]], "audio")
        for k in range(0, len(clips), 32)
    ]
    return torch.cat(parts)


def read_views(shop: Workshop, encoders: Mapping[str, CompactEncoder]) -> dict[str, View]:
    """Held-out media by 'space/modality'."""
    pictures, clips, clouds = shop.pictures[1], shop.clips[1], shop.clouds[1]
    points = read_points(shop.data)
    shown = tuple(p.concept for p in pictures), tuple(p.name for p in pictures)
    meshes = tuple(p.mesh for p in pictures)
    solid = encoders["ulip"].encode([points[c.index] for c in clouds], "point_cloud")
    return {
        "clip/image": View(encode_pictures(encoders["clip"], pictures), *shown, meshes),
        "ulip/image": View(encode_pictures(encoders["ulip"], pictures), *shown, meshes),
        "clap/audio": View(
            encode_clips(encoders["clap"], clips),
            tuple(c.concept for c in clips),
            tuple(c.name for c in clips),
        ),
        "ulip/point_cloud": View(
            solid,
            tuple(c.concept for c in clouds),
            tuple(c.name for c in clouds),
            tuple(c.mesh for c in clouds),
        ),
    }


def teacher_views(shop: Workshop) -> dict[str, View]:
    """The teachers alone: class scores mapped onto name vectors, with no training of ours."""
    pictures, clips = shop.pictures[1], shop.clips[1]
    found = {}
    for key, teacher, features, items in (
        (
            "image",
            MobileNetV2(shop.teachers),
            teacher_pictures(shop.teachers, [p.path for p in pictures]),
            pictures,
        ),
        ("audio", YamNet(shop.teachers), teacher_clips(shop.teachers, [c.path for c in clips]), clips),
    ):
        classifier = teacher.classifier()
        classes = F.normalize(torch.from_numpy(shop.lexicon.matrix(classifier.names)), dim=1)
        vectors, _ = score_words(classifier, classes, features.numpy(), top=10)
        found[key] = View(vectors, tuple(i.concept for i in items), tuple(i.name for i in items))
    return found

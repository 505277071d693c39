"""The bundle's connectors: Ex-MCR leaves for sounds and shapes, C-MCR for sounds beside them.

Given a workshop and the encoders as shipped, it makes the memories (training media, the teachers' classes
as if they were media, every text) and trains the connectors with this package's recipes. No memory is
paired with another across picture and sound: only texts, and for shapes pictures, are in both spaces.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from connectors.connector import Connector
from connectors.encoders.compact.encoder import CompactEncoder, Tower
from training.assembly import Provenance
from training.compact.alignment import classifier_rows
from training.compact.held_out import View, encode_clips, encode_pictures, encode_texts
from training.compact.media_features import kept, teacher_clips, teacher_pictures
from training.compact.teachers import Classifier, MobileNetV2, YamNet
from training.compact.workshop import Workshop, say
from training.connection import connect
from training.readers.data_folder_records import read_points
from training.recipe import load_recipe


@dataclass(frozen=True)
class Links:
    """Connectors by directory name, the closed-form baselines of each leaf, and the training pictures."""

    shipped: dict[str, Connector]
    baselines: dict[str, dict[str, Connector]]
    gallery: View


class LinkMaker:
    """Makes memories and connectors."""

    def __init__(self, shop: Workshop, encoders: Mapping[str, CompactEncoder]) -> None:
        self.shop, self.encoders = shop, encoders

    def _kept(self, name: str, make: Any) -> Tensor:
        fingerprint = "".join(e.fingerprint[7:13] for e in self.encoders.values())
        return kept(self.shop.work / "memories" / f"{fingerprint}-{name}.npy", make)

    def _ideal(self, space: str, modality: str, classifier: Classifier, answers: Tensor) -> Tensor:
        """A teacher's classes as media of a space [classes, d]; `answers`: its features of real media."""
        tower = self.encoders[space].towers[modality]
        assert isinstance(tower, Tower)
        with torch.inference_mode():
            return F.normalize(tower.head(classifier_rows(classifier, answers.numpy())), dim=1).clone()

    def _pictures(self, space: str) -> Tensor:
        """Training pictures in a space."""
        pictures = self.shop.pictures[0]
        return self._kept(f"{space}-image", lambda: encode_pictures(self.encoders[space], pictures))

    def gallery(self) -> View:
        """Training pictures in clip."""
        shown = self.shop.pictures[0]
        return View(self._pictures("clip"), tuple(p.concept for p in shown), tuple(p.name for p in shown))

    def texts(self) -> list[str]:
        """The texts that connect: names, captions, concrete nouns; names thrice as prompts."""
        texts = self.shop.texts
        prompts = [f"the sound of {name}" for name in texts.names[::2]]
        return [*texts.names, *prompts, *texts.captions[::5], *texts.nouns[::6]]

    def sound_features(self) -> dict[str, Tensor]:
        """Memories that connect sounds: texts in both spaces, pictures, sounds."""
        texts = self.texts()
        clips = self.shop.clips[0]
        teachers = self.shop.teachers
        image, audio = MobileNetV2(teachers).classifier(), YamNet(teachers).classifier()
        paths = [picture.path for picture in self.shop.pictures[0]]
        seen = self._kept("teacher-image", lambda: teacher_pictures(teachers, paths))
        listened = self._kept("teacher-audio", lambda: teacher_clips(teachers, [c.path for c in clips]))
        heard = self._kept("audio", lambda: encode_clips(self.encoders["clap"], clips))
        return {
            "clip/text": self._kept("clip-text", lambda: encode_texts(self.encoders["clip"], texts)),
            "clap/text": self._kept("clap-text", lambda: encode_texts(self.encoders["clap"], texts)),
            "clip/image": torch.cat([self._pictures("clip"), self._ideal("clip", "image", image, seen)]),
            "clap/audio": torch.cat([heard, self._ideal("clap", "audio", audio, listened)]),
        }

    def shape_features(self) -> dict[str, Tensor]:
        """Memories that connect shapes: pictures in both spaces, texts, clouds."""
        clouds = self.shop.clouds[0]
        points = read_points(self.shop.data)
        return {
            "clip/image": self._pictures("clip"),
            "ulip/image": self._pictures("ulip"),
            "clip/text": self.sound_features()["clip/text"],
            "ulip/point_cloud": self._kept(
                "points",
                lambda: self.encoders["ulip"].encode([points[c.index] for c in clouds], "point_cloud"),
            ),
        }

    def recipe(self, method: str, leaf: str, overlap: str) -> dict[str, Any]:
        """The settings that differ from the recipe of that method: sizes that suit a small bundle."""
        return {
            "method": method,
            "leaf": leaf,
            "overlap": overlap,
            "projector": {"hidden": 384},
            "optim": {
                "epochs": self.shop.plan.connector_epochs,
                "batch_size": 1024,
                "seed": self.shop.plan.seed,
            },
        }

    def make(self, output: Path) -> Links:
        """Train every connector and save it below `output`/connectors, in fp16."""
        shipped, baselines = {}, {}
        for name, recipe, method, leaf, overlap in (
            ("exmcr-clap", "default", "exmcr", "clap", "text"),
            ("exmcr-ulip", "default-ulip", "exmcr", "ulip", "image"),
            ("cmcr-clap", "cmcr-paper", "cmcr", "clap", "text"),
        ):
            features = self.sound_features() if leaf == "clap" else self.shape_features()
            spaces = ("clip", leaf)
            provenance = Provenance(encoders={s: self.encoders[s].fingerprint for s in spaces})
            made = connect(
                load_recipe(recipe, self.recipe(method, leaf, overlap)), features, provenance=provenance
            )
            made.connector.half().save(output / "connectors" / name)
            shipped[name] = made.connector.float()
            if method == "exmcr":
                baselines[leaf] = made.baselines
            say(f"{name}: {made.connector.version}")
        return Links(shipped, baselines, self.gallery())

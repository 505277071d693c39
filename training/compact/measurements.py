"""Everything the report measures, from held-out media, encoders, connectors and teachers.

It gives back the report's lines in their order, and the unified views that calibration is fitted on.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from connectors.connector import Connector
from connectors.encoders.compact.encoder import CompactEncoder
from connectors.modality import Modality
from training.compact.held_out import View, projected, read_views, teacher_views
from training.compact.linear_probe import linear_probe
from training.compact.links import Links
from training.compact.media_features import teacher_clips
from training.compact.report import Line, concept_lines, mesh_lines, name_lines, zero_shot_line
from training.compact.workshop import Workshop

ESC = "{}"


class Measurements:
    """Measures one build."""

    def __init__(self, shop: Workshop, encoders: Mapping[str, CompactEncoder], links: Links) -> None:
        self.shop, self.encoders, self.links = shop, encoders, links
        self.views = read_views(shop, encoders)

    def _text(self, space: str, connector: Connector | None = None, texts: Sequence[str] = ()) -> Tensor:
        vectors = self.encoders[space].encode(list(texts), "text", 256)
        return connector.project(space, "text", vectors) if connector else vectors

    def _named(self, key: str) -> View:
        """A view with the text of each item's name in its place."""
        view = self.views[key]
        vectors = F.normalize(self._text("clip", None, view.names), dim=1)
        return View(vectors, view.concepts, view.names)

    def _unified(self, connector: Connector | None, space: str, modality: Modality) -> View:
        view = self.views[f"{space}/{modality}"]
        return projected(view, connector, space, modality) if connector else view

    def lines(self) -> list[Line]:
        """Every line of the report."""
        return [*self.native(), *self.connected(), *self.shapes(), *self.teachers()]

    def native(self) -> list[Line]:
        """Each space by itself."""
        esc = self._esc(self.views["clap/audio"])
        clap = lambda texts: self._text("clap", None, texts)  # noqa: E731
        clip = lambda texts: self._text("clip", None, texts)  # noqa: E731
        image = self.views["clip/image"]
        return [
            zero_shot_line("ESC zero-shot", "clap, native", esc, clap, ESC),
            *name_lines("text to audio, by name", "clap, native", self.views["clap/audio"], clap),
            *name_lines("text to image, by name", "clip, native", image, clip),
            *concept_lines("image to image", "clip, native", image, image),
        ]

    def connected(self) -> list[Line]:
        """Sound against pictures and shapes, by each connector and by none."""
        shipped, baselines = self.links.shipped, self.links.baselines
        clip = lambda texts: self._text("clip", None, texts)  # noqa: E731
        esc = self._esc(self._unified(shipped["exmcr-clap"], "clap", "audio"))
        out = [zero_shot_line("ESC zero-shot", "exmcr, clip text", esc, clip, ESC)]
        variants: dict[str, Connector | None] = {
            "exmcr": shipped["exmcr-clap"],
            "cmcr": shipped["cmcr-clap"],
            **baselines["clap"],
            "no connector": None,
        }
        for name, connector in variants.items():
            audio = self._unified(connector, "clap", "audio")
            base = connector if name == "cmcr" else None
            image = self._unified(base, "clip", "image")
            out += concept_lines("audio to image", name, audio, image)
            out += concept_lines("image to audio", name, image, audio)
        for name in ("exmcr", *baselines["clap"]):
            audio = self._unified(variants[name], "clap", "audio")
            out += concept_lines("held-out audio to trained-on image", name, audio, self.links.gallery)
        audio, image = self._unified(shipped["exmcr-clap"], "clap", "audio"), self.views["clip/image"]
        points = self._unified(shipped["exmcr-ulip"], "ulip", "point_cloud")
        out += concept_lines("audio to image", "a sound's name", self._named("clap/audio"), image)
        out += concept_lines("audio to image", "a picture's name", audio, self._named("clip/image"))
        out += concept_lines("audio to 3D", "a sound's name", self._named("clap/audio"), points)
        out += concept_lines("audio to 3D", "a shape's name", audio, self._named("ulip/point_cloud"))
        solid: dict[str, tuple[Connector | None, Connector | None]] = {
            "exmcr": (shipped["exmcr-clap"], shipped["exmcr-ulip"]),
            **{k: (baselines["clap"][k], baselines["ulip"][k]) for k in baselines["clap"]},
            "no connector": (None, None),
        }
        for name, (leaf, shape) in solid.items():
            audio = self._unified(leaf, "clap", "audio")
            points = self._unified(shape, "ulip", "point_cloud")
            out += concept_lines("audio to 3D", name, audio, points)
            out += concept_lines("3D to audio", name, points, audio)
        return out

    def shapes(self) -> list[Line]:
        """Pictures and shapes: natively, and in the unified space where service finds them."""
        train = self.shop.clouds[0]
        seen = {c.name for c in train} | {c.concept for c in train if c.concept}
        points = self.views["ulip/point_cloud"]
        out = mesh_lines("ulip, native", self.views["ulip/image"], points, seen)
        variants = {"exmcr": self.links.shipped["exmcr-ulip"], **self.links.baselines["ulip"]}
        for name, connector in variants.items():
            unified = projected(points, connector, "ulip", "point_cloud")
            out += mesh_lines(name, self.views["clip/image"], unified, seen)
            out += concept_lines("image to 3D, by concept", name, self.views["clip/image"], unified)
        return out

    def teachers(self) -> list[Line]:
        """The teachers alone on the same split."""
        views = teacher_views(self.shop)
        label = "teachers' scores"
        return [
            self._probe(),
            *concept_lines("audio to image", label, views["audio"], views["image"]),
            *concept_lines("image to audio", label, views["image"], views["audio"]),
        ]

    def _probe(self) -> Line:
        """The linear probe of the sound teacher, on the clips that zero-shot is measured on."""
        train, held = ([clip for clip in part if clip.kind == "esc"] for part in self.shop.clips)
        names, asked = [clip.name for clip in train], [clip.name for clip in held]
        known, unknown = (
            teacher_clips(self.shop.teachers, [clip.path for clip in part]) for part in (train, held)
        )
        accuracy, classes = linear_probe(known, names, unknown, asked), len(set(asked))
        return Line(
            "ESC, classified",
            "teacher's linear probe",
            "accuracy",
            accuracy,
            1 / classes,
            len(asked),
            classes,
        )

    def _esc(self, view: View) -> View:
        return view.where([clip.kind == "esc" for clip in self.shop.clips[1]])

    def unified(self) -> dict[str, View]:
        """Held-out media and the names of everything with a concept, unified by the default connectors."""
        named = {(c.name, c.concept) for part in self.shop.clips for c in part}
        named |= {(p.name, p.concept) for part in self.shop.pictures for p in part}
        pairs = sorted((name, concept) for name, concept in named if concept)
        names = tuple(name for name, _ in pairs)
        text = View(self._text("clip", None, names), tuple(c for _, c in pairs), names)
        leaf, shape = self.links.shipped["exmcr-clap"], self.links.shipped["exmcr-ulip"]
        views = {
            "text": text,
            "image": self.views["clip/image"].with_concept(),
            "audio": self._unified(leaf, "clap", "audio").with_concept(),
            "point_cloud": self._unified(shape, "ulip", "point_cloud").with_concept(),
        }
        assert all(torch.isfinite(v.vectors).all() for v in views.values())
        return views

"""The three compact spaces: heads on frozen trunks, each space trained by itself.

Given a workshop with finished trunks, it trains the heads of clip (pictures and words), clap (sounds and
words) and ulip (shapes, pictures and words). No step sees a picture and a sound together.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from connectors.encoders.compact.encoder import Tower, make_head
from connectors.encoders.compact.word_tower import WordTrunk, make_tokenizer, pad_ids, token_ids
from training.compact.alignment import AlignPlan, Rows, align, classifier_rows, score_words
from training.compact.media_features import (
    clip_patches,
    kept,
    mixed_frames,
    plain_pictures,
    pool_features,
    scenes,
)
from training.compact.plan import DIM
from training.compact.shape_training import ShapePlan, ShapeRows, train_shapes
from training.compact.workshop import Workshop, say
from training.readers.data_folder_records import Picture, read_points

HEADS: dict[str, list[int]] = {
    "clip-image": [1280, 512, DIM],
    "clap-audio": [1024, 512, DIM],
    "clap-text": [DIM, 384, DIM],
    "ulip-point_cloud": [512, DIM],
    "ulip-image": [1280, DIM],
    "ulip-text": [DIM, DIM],
}
"""Layer widths of each tower's head; clip's text tower has none."""

POOLED = 16_384
"""Views of each pool that the heads are trained on beside the real items."""


class WordVectors:
    """Unit vectors of texts by the finished text trunk: what a space's text head is given."""

    def __init__(self, trunk: nn.Module, vocabulary: Sequence[str]) -> None:
        assert isinstance(trunk, WordTrunk)
        self._trunk, self._tokenizer = trunk.eval(), make_tokenizer(vocabulary)

    @torch.inference_mode()
    def __call__(self, texts: Sequence[str], batch: int = 256) -> Tensor:
        """Vectors [n, DIM]; texts are taken by length, which keeps padding short."""
        ids = [token_ids(self._tokenizer, text) for text in texts]
        order = sorted(range(len(ids)), key=lambda k: len(ids[k]))
        out = torch.zeros(len(ids), DIM)
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            out[rows] = F.normalize(self._trunk(pad_ids([ids[k] for k in rows])), dim=1)
        return out.clone()


def picture_words(words: WordVectors, pictures: Sequence[Picture]) -> Tensor:
    """Unit vectors [n, DIM] of what pictures show: mostly their name, a little of their keywords."""
    every = sorted({word for p in pictures for word in p.words})
    at = {word: k for k, word in enumerate(every)}
    vectors = words(every)
    rows = []
    for p in pictures:
        keywords = [vectors[at[word]] for word in p.words[1:]]
        extra = torch.stack(keywords).mean(dim=0) if keywords else torch.zeros(DIM)
        rows.append(vectors[at[p.name]] + 0.4 * extra)
    return F.normalize(torch.stack(rows), dim=1)


class SpaceMaker:
    """Trains the heads of each space and keeps them in the workshop."""

    def __init__(self, workshop: Workshop) -> None:
        self.shop = workshop
        self.words = WordVectors(workshop.load_trunk("words"), workshop.vocabulary)
        names = list(workshop.texts.names)
        captions = list(workshop.texts.captions[::4])
        self._texts = kept(workshop.work / "features" / "texts.npy", lambda: self.words(names + captions))

    def _features(self, name: str) -> Path:
        return self.shop.work / "features" / f"{name}.npy"

    def picture_features(self) -> tuple[Tensor, Tensor]:
        """Features of training pictures, plain and in scenes."""
        self.refine_pictures()
        trunk = self.shop.load_trunk("pictures-refined")
        paths = [p.path for p in self.shop.pictures[0]]
        plain = kept(self._features("pictures-plain"), lambda: plain_pictures(trunk, paths))
        return plain, kept(
            self._features("pictures-scenes"), lambda: scenes(trunk, paths, self.shop.plan.seed)
        )

    def _head(self, name: str) -> nn.Sequential:
        return make_head(HEADS[name])

    def _plan(self) -> AlignPlan:
        return AlignPlan(steps=self.shop.plan.head_steps, seed=self.shop.plan.seed)

    def refine_pictures(self) -> Path:
        """The picture trunk's second round."""
        return self.shop.refined("pictures", picture_words(self.words, self.shop.pictures[0]))

    def refine_sounds(self) -> Path:
        """The sound trunk's second round."""
        return self.shop.refined("sounds", self.words([c.name for c in self.shop.clips[0]]))

    def clip(self) -> Path:
        """The picture head: pictures agree with their names in the words' own coordinates."""

        def make() -> nn.Module:
            plain, placed = self.picture_features()
            pictures = self.shop.pictures[0]
            labels = [p.name for p in pictures]
            shown = picture_words(self.words, pictures)
            classifier = self.shop.classifier("pictures")
            classes = self.words(classifier.names)
            views = self.shop.pool("pictures")
            trunk = self.shop.load_trunk("pictures-refined")
            pooled = kept(self._features("pictures-pool"), lambda: pool_features(trunk, views, POOLED))
            answers = np.asarray(views["features"][: len(pooled)], dtype=np.float32)
            said, sure = score_words(classifier, classes, answers)
            sources = [
                Rows.of(plain, shown, labels, 0.3),
                Rows.of(placed, shown, labels, 0.3),
                Rows.of(
                    classifier_rows(classifier, answers), classes.repeat(2, 1), classifier.names * 2, 0.3
                ),
                Rows(pooled, said, 0.1 * sure / sure.sum()),
            ]
            head = self._head("clip-image")
            align(head, nn.Identity(), sources, self._texts, self._plan(), lambda t: say(f"clip, {t}"))
            return head

        return self.shop.step("clip-image", make)

    def clap(self) -> Path:
        """The sound head and a text head of its own: sounds agree with what they are called."""
        heads = nn.ModuleDict({"audio": self._head("clap-audio"), "text": self._head("clap-text")})

        self.refine_sounds()

        def make() -> nn.Module:
            torch.manual_seed(self.shop.plan.seed)
            for head in heads.values():
                for layer in head.modules():
                    if isinstance(layer, nn.Linear):
                        layer.reset_parameters()
            trunk = self.shop.load_trunk("sounds-refined")
            clips = self.shop.clips[0]
            paths = [c.path for c in clips]
            patches = clip_patches(trunk, paths)
            named = self.words([c.name for c in clips])
            labels = [clips[int(k)].name for k in patches.owner]
            classifier = self.shop.classifier("sounds")
            classes = self.words(classifier.names)
            own, answers = mixed_frames(trunk, self.shop.teachers, paths, self.shop.plan.seed)
            said, sure = score_words(classifier, classes, answers)
            whole = patches.means(patches.features, len(clips))
            sources = [
                Rows.of(patches.features, named[patches.owner], labels, 0.35),
                Rows.of(whole, named, [c.name for c in clips], 0.25),
                Rows.of(
                    classifier_rows(classifier, answers), classes.repeat(2, 1), classifier.names * 2, 0.25
                ),
                Rows(own, said, 0.15 * sure / sure.sum()),
            ]
            align(
                heads["audio"], heads["text"], sources, self._texts, self._plan(),
                lambda t: say(f"clap, {t}"),
            )  # fmt: skip
            return heads

        return self.shop.step("clap", make)

    def ulip(self) -> Path:
        """The shape tower and heads for pictures and words, from meshes, their renders and names."""
        tower = Tower(self.shop.load_trunk("shapes"), self._head("ulip-point_cloud"))
        heads = nn.ModuleDict(
            {"point_cloud": tower, "image": self._head("ulip-image"), "text": self._head("ulip-text")}
        )

        def make() -> nn.Module:
            plain, placed = self.picture_features()
            pictures = self.shop.pictures[0]
            views: dict[str, list[int]] = {}
            for k, picture in enumerate(pictures):
                if picture.mesh:
                    views.setdefault(picture.mesh, []).append(k)
            clouds = [c for c in self.shop.clouds[0] if c.mesh in views]
            points = read_points(self.shop.data)
            most = min(len(views[c.mesh]) for c in clouds)
            at = torch.tensor([views[c.mesh][:most] for c in clouds])
            rows = ShapeRows(
                [points[c.index] for c in clouds],
                torch.cat([plain[at], placed[at]], dim=1),
                self.words([c.name for c in clouds]),
            )
            train_shapes(
                tower, heads["image"], heads["text"], rows, self._texts,
                ShapePlan(
                    epochs=self.shop.plan.shape_epochs,
                    batch=min(128, len(clouds)),
                    seed=self.shop.plan.seed,
                ),
                lambda t: say(f"ulip, {t}"),
            )  # fmt: skip
            return heads

        return self.shop.step("ulip", make)

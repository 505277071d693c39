"""The workshop: the folder where a compact bundle is made, step by step, and what each step left there.

Given the data folder and a plan, it holds the records that train and validate and the trunks that are
done. A step whose result is there already is not done again, so a build that was stopped goes on.
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from connectors.encoders.compact.conv_layers import Stage, Trunk
from connectors.encoders.compact.encoder import make_head
from connectors.encoders.compact.mobile_trunk import MobileTrunk
from connectors.encoders.compact.shape_trunk import ShapeTrunk
from connectors.encoders.compact.sound_trunk import SoundTrunk
from connectors.encoders.compact.word_tower import WordTrunk, read_vocabulary
from training.compact.distillation import DistilPlan, Guide, distil
from training.compact.plan import (
    DIM,
    PICTURE_SHARES,
    PICTURE_TRUNK,
    SHAPE_TRUNK,
    SOUND_TRUNK,
    STAGE_NOISE,
    THIN_STAGES,
    WORD_TRUNK,
    Plan,
)
from training.compact.stage_fitting import StagePlan, fit_stage, write_maps
from training.compact.teacher_stages import TeacherStage, picture_stages, sound_stages
from training.compact.teachers import Classifier, MobileNetV2, YamNet
from training.compact.text_distillation import build_vocabulary, distil_words
from training.compact.texts import Texts, gather_texts, read_lexicon
from training.compact.view_pool import PoolPlan, Views, build_pool, shown
from training.compact.word_graph import Lexicon
from training.readers.data_folder_records import Clip, Cloud, Picture, read_clips, read_clouds, read_pictures
from training.readers.data_folder_split import held_out_groups, held_out_recordings, split


def say(text: str) -> None:
    """Print a line of progress with the time of day."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)  # noqa: T201 - the command's own output


def save_module(module: nn.Module, path: Path) -> None:
    """Write a module's weights, whole or not at all."""
    state = {
        key: value.detach().clone(memory_format=torch.contiguous_format)
        for key, value in module.state_dict().items()
    }
    save_file(state, path.with_suffix(".part"))
    path.with_suffix(".part").rename(path)


def new_trunk(kind: str) -> Trunk:
    """An untrained trunk of pictures or sounds."""
    if kind == "pictures":
        return MobileTrunk(**PICTURE_TRUNK)  # type: ignore[arg-type]
    return SoundTrunk(**SOUND_TRUNK)  # type: ignore[arg-type]


class Workshop:
    """Data, plan and intermediate results of one build."""

    def __init__(self, data: Path, work: Path, plan: Plan, workers: int = 2) -> None:
        self.data, self.work, self.plan, self.workers = data, work, plan, workers
        work.mkdir(parents=True, exist_ok=True)
        pictures, clouds, clips = read_pictures(data), read_clouds(data), read_clips(data)
        held = held_out_groups({p.group for p in pictures} | {c.group for c in clouds})
        self.pictures: tuple[list[Picture], list[Picture]] = split(pictures, held)
        self.clouds: tuple[list[Cloud], list[Cloud]] = split(clouds, held)
        self.clips: tuple[list[Clip], list[Clip]] = split(clips, held_out_recordings(clips))

    @property
    def teachers(self) -> Path:
        """The folder of the teachers."""
        return self.data / "teachers"

    @cached_property
    def lexicon(self) -> Lexicon:
        """The lexicon, kept once made."""
        path = self.work / "lexicon.npz"
        if path.is_file():
            with np.load(path, allow_pickle=False) as kept:
                keys = json.loads(str(kept["keys"]))
                salience = json.loads(str(kept["salience"]))
                return Lexicon({key: k for k, key in enumerate(keys)}, kept["vectors"], salience)
        lexicon = read_lexicon(self.data, DIM)
        np.savez(
            path,
            keys=json.dumps(list(lexicon.rows)),
            salience=json.dumps(dict(lexicon.salience)),
            vectors=lexicon.vectors,
        )
        return lexicon

    @cached_property
    def texts(self) -> Texts:
        """Every text to teach on; of pictures and clips, only the labels of those that train."""
        labels = [word for picture in self.pictures[0] for word in picture.words]
        labels += [clip.name for clip in self.clips[0]]
        return gather_texts(self.data, self.lexicon, labels)

    def step(self, name: str, make: Callable[[], nn.Module]) -> Path:
        """The weights file of a step: made, with the time it took, unless it is there."""
        path = self.work / f"{name}.safetensors"
        if not path.is_file():
            begun = time.monotonic()
            torch.manual_seed(self.plan.seed)
            save_module(make(), path)
            spent = {"seconds": round(time.monotonic() - begun), "threads": torch.get_num_threads()}
            (self.work / f"{name}.json").write_text(json.dumps(spent))
        return path

    def words(self) -> Path:
        """The text trunk, distilled from the lexicon."""

        def make() -> nn.Module:
            vocabulary = build_vocabulary(self.texts, self.plan.vocabulary)
            path = self.work / "vocabulary.txt"
            path.write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
            trunk = WordTrunk(len(vocabulary), **WORD_TRUNK)
            steps, seed = self.plan.word_steps, self.plan.seed
            return distil_words(self.texts, vocabulary, trunk, steps, seed, lambda t: say(f"words, {t}"))

        return self.step("words", make)

    def pool_plan(self, kind: str) -> PoolPlan:
        """The plan of a pool: pictures or sounds."""
        if kind == "pictures":
            files = tuple(p.path for p in self.pictures[0])
            shares = tuple(PICTURE_SHARES[p.kind] for p in self.pictures[0])
            count, seed = self.plan.picture_views, self.plan.seed + 1
        else:
            files = tuple(c.path for c in self.clips[0])
            shares = (1.0,) * len(files)
            count, seed = self.plan.sound_views, self.plan.seed + 2
        return PoolPlan(kind, files, shares, self.teachers, count, seed)

    def pool(self, kind: str) -> Views:
        """A pool's views, built if they are not there."""
        return build_pool(self.pool_plan(kind), self.work / kind, self.workers, say)

    def classifier(self, kind: str) -> Classifier:
        """The last layer of the teacher of pictures or sounds."""
        teacher = MobileNetV2(self.teachers) if kind == "pictures" else YamNet(self.teachers)
        return teacher.classifier()

    def teacher_stages(self, kind: str) -> list[TeacherStage]:
        """The stages of the teacher of pictures or sounds."""
        return (picture_stages if kind == "pictures" else sound_stages)(self.teachers)

    def maps(self, kind: str) -> Path:
        """The folder with the inputs of the teacher's stages, for the first of the pool's views."""
        folder = self.work / kind
        if not (folder / "maps.done").is_file():
            count = self.plan.picture_maps if kind == "pictures" else self.plan.sound_maps
            write_maps(self.teacher_stages(kind), self.pool(kind)["input"][:count], folder, self.plan.seed)
            (folder / "maps.done").touch()
        return folder

    def stage(self, kind: str, k: int) -> Path:
        """One stage of a trunk, taught by the teacher's own."""

        def make() -> nn.Module:
            student = new_trunk(kind).stages[k]
            assert isinstance(student, Stage)
            teacher = self.teacher_stages(kind)[k]
            maps = np.load(self.maps(kind) / f"maps-{k}.npy", mmap_mode="r")
            steps = self.plan.stage_steps[k >= THIN_STAGES[kind]]
            noise = STAGE_NOISE[kind]
            plan = StagePlan(steps, noise=noise, seed=self.plan.seed + k)
            progress = lambda text: say(f"{kind}, stage {k}, {text}")  # noqa: E731
            error = fit_stage(student, teacher, maps, plan, progress)
            say(f"{kind}, stage {k}: error {error:.4f}")
            return student

        return self.step(f"{kind}-{k}", make)

    def joined(self, kind: str) -> Path:
        """A trunk, its stages joined."""

        def make() -> nn.Module:
            trunk = new_trunk(kind)
            for k, stage in enumerate(trunk.stages):
                stage.load_state_dict(load_file(self.stage(kind, k)))
            return trunk

        return self.step(kind, make)

    def refined(self, kind: str, words: Tensor) -> Path:
        """The trunk after a second round, in which what a view shows counts beside the teacher.

        `words` [files, e] are the text vectors of what the pool's files show.
        """

        def make() -> nn.Module:
            network = new_trunk(kind)
            network.load_state_dict(load_file(self.joined(kind)))
            classifier = self.classifier(kind)
            drawn, known = shown(self.pool_plan(kind))
            anchors = words[torch.from_numpy(drawn)]
            features = classifier.weight.shape[1]
            head = make_head([features, 512, words.shape[1]])
            guide = Guide(head, anchors, anchors, torch.from_numpy(known))
            shows = kind == "pictures"
            epochs = self.plan.picture_refining if shows else self.plan.sound_refining
            plan = DistilPlan(epochs, 48 if shows else 96, lr=6e-4, matrix_lr=4e-3, seed=self.plan.seed + 1)
            progress = lambda text: say(f"{kind} refined, {text}")  # noqa: E731
            distil(network, self.pool(kind), classifier, plan, progress, guide)
            return network

        return self.step(f"{kind}-refined", make)

    def load_trunk(self, name: str) -> nn.Module:
        """A finished trunk: words, pictures or sounds (refined or not); an untrained one for shapes."""
        trunk: nn.Module
        if name == "words":
            trunk = WordTrunk(len(self.vocabulary), **WORD_TRUNK)
        elif name == "shapes":
            return ShapeTrunk(**SHAPE_TRUNK)
        else:
            trunk = new_trunk(name.removesuffix("-refined"))
        trunk.load_state_dict(load_file(self.work / f"{name}.safetensors"))
        return trunk.eval()

    @property
    def vocabulary(self) -> list[str]:
        """The text trunk's vocabulary."""
        return read_vocabulary(self.work / "vocabulary.txt")

    def spent(self) -> dict[str, dict[str, int]]:
        """Seconds and threads of every step done."""
        steps = sorted(self.work.glob("*.json"))
        return {path.stem: json.loads(path.read_text()) for path in steps}

    def describe(self) -> dict[str, object]:
        """The plan as JSON values."""
        return asdict(self.plan)

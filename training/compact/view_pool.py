"""Pools of augmented views with the teacher's answers, built once by worker processes.

Given the training items, a pool is a folder of memory-mapped arrays: what the student is shown and
what the teacher said of it, its pooled features. View k is
drawn with a generator seeded by (seed, k), so a pool is the same however many workers make it.
"""

import functools
import json
import multiprocessing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from connectors.encoders.compact.encoder import PICTURE_SIDE as STUDENT_SIDE
from training.compact.picture_views import load_picture, picture_view
from training.compact.sound_views import SYNTHETIC, load_clip, sound_view
from training.compact.teachers import PICTURE_SIDE, MobileNetV2, YamNet, quiet

CHUNK = 256

Views = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """What a pool holds: `kind` pictures or sounds, the files, how many views, the seed."""

    kind: str
    files: tuple[Path, ...]
    weights: tuple[float, ...]
    teachers: Path
    count: int
    seed: int
    side: int = STUDENT_SIDE

    @property
    def layout(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """Shape and dtype of each array, for one view."""
        if self.kind == "pictures":
            return {"input": ((self.side, self.side, 3), "uint8"), "features": ((1280,), "float16")}
        return {"input": ((96, 64), "float16"), "features": ((1024,), "float16")}


@functools.cache
def _picture_maker(plan: PoolPlan) -> Callable[[int, np.random.Generator], Views]:
    pictures = [load_picture(path) for path in plan.files]
    teacher = MobileNetV2(plan.teachers)

    def make(index: int, rng: np.random.Generator) -> Views:
        view = picture_view(pictures, index, plan.side, rng)
        size = (PICTURE_SIDE, PICTURE_SIDE)
        shown_to_teacher = Image.fromarray(view).resize(size, Image.Resampling.BILINEAR)
        return {"input": view, "features": teacher.reply(np.asarray(shown_to_teacher)).features}

    return make


@functools.cache
def _sound_maker(plan: PoolPlan) -> Callable[[int, np.random.Generator], Views]:
    clips = [load_clip(path) for path in plan.files]
    teacher = YamNet(plan.teachers)

    def make(index: int, rng: np.random.Generator) -> Views:
        reply = teacher.reply(sound_view(clips, index, rng))
        assert reply.mel is not None
        return {"input": reply.mel, "features": reply.features}

    return make


def _make_chunk(plan: PoolPlan, start: int) -> tuple[int, Views]:
    maker = _picture_maker(plan) if plan.kind == "pictures" else _sound_maker(plan)
    chance = np.asarray(plan.weights) / sum(plan.weights)
    views = []
    for k in range(start, min(plan.count, start + CHUNK)):
        rng = np.random.default_rng((plan.seed, k))
        views.append(maker(int(rng.choice(len(chance), p=chance)), rng))
    return start, {
        key: np.stack([view[key] for view in views]).astype(dtype) for key, (_, dtype) in plan.layout.items()
    }


def shown(plan: PoolPlan) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Which file each view was drawn from, and whether it shows that file's subject at all.

    It redraws the first numbers of each view's generator, in the order the views drew them.
    """
    chance = np.asarray(plan.weights) / sum(plan.weights)
    at = np.zeros(plan.count, dtype=np.int64)
    known = np.ones(plan.count, dtype=np.bool_)
    for k in range(plan.count):
        rng = np.random.default_rng((plan.seed, k))
        at[k] = rng.choice(len(chance), p=chance)
        if plan.kind == "sounds":
            known[k] = rng.random() >= SYNTHETIC
    return at, known


def build_pool(plan: PoolPlan, folder: Path, workers: int, progress: Callable[[str], None]) -> Views:
    """The pool's arrays, memory-mapped: built if the folder does not hold it whole already."""
    done = folder / "done.json"
    stamp = json.dumps([plan.kind, plan.count, plan.seed, plan.side, len(plan.files)])
    if not (done.is_file() and done.read_text() == stamp):
        folder.mkdir(parents=True, exist_ok=True)
        arrays = {
            key: np.lib.format.open_memmap(  # type: ignore[no-untyped-call]
                folder / f"{key}.npy", mode="w+", dtype=dtype, shape=(plan.count, *shape)
            )
            for key, (shape, dtype) in plan.layout.items()
        }
        context = multiprocessing.get_context("spawn")
        with quiet(), context.Pool(workers) as pool:
            starts: Sequence[int] = range(0, plan.count, CHUNK)
            for n, (start, views) in enumerate(
                pool.imap_unordered(functools.partial(_make_chunk, plan), starts)
            ):
                for key, values in views.items():
                    arrays[key][start : start + len(values)] = values
                if n % 40 == 0:
                    progress(f"{plan.kind}: {min(plan.count, n * CHUNK)} of {plan.count} views")
        done.write_text(stamp)
    return {key: np.load(folder / f"{key}.npy", mmap_mode="r") for key in plan.layout}

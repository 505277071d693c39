"""Features that students and teachers give the data folder's media, computed once for the heads.

Given a workshop with finished trunks, it gives back feature matrices: of pictures (as the encoder will
prepare them, and set in random scenes), of sound clips (patch by patch), of pool views beside the
teacher's answer, and the teachers' own features for the baseline that the students are measured against.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor, nn

from connectors.encoders.compact.encoder import PICTURE_SIDE as STUDENT_SIDE
from connectors.encoders.compact.encoder import prepare_picture
from connectors.encoders.compact.sound_patches import PATCH, cut_patches, log_mel
from training.compact.distillation import network_input, trunk_features
from training.compact.picture_views import flatten, load_picture, recolour, scene
from training.compact.sound_views import clip_frames, load_clip
from training.compact.teachers import PICTURE_SIDE, MobileNetV2, YamNet
from training.compact.view_pool import Views

HEARD_PATCHES = 12
"""Patches of a clip that heads are trained on: more than the encoder takes the time to listen to."""


def kept(path: Path, make: Callable[[], Tensor]) -> Tensor:
    """A tensor from a file, or made and written there."""
    if path.is_file():
        return torch.from_numpy(np.load(path, allow_pickle=False))
    path.parent.mkdir(parents=True, exist_ok=True)
    made = make()
    part = path.with_suffix(f".{os.getpid()}.npy")  # two processes may make the same thing
    np.save(part, made.numpy())
    part.rename(path)
    return made


def in_batches(trunk: nn.Module, rows: Sequence[Tensor], batch: int = 128) -> Tensor:
    """Trunk features of prepared rows [1, ...]."""
    return torch.cat(
        [trunk_features(trunk, torch.cat(list(rows[k : k + batch]))) for k in range(0, len(rows), batch)]
    )


def plain_pictures(trunk: nn.Module, paths: Sequence[Path]) -> Tensor:
    """Features of pictures on white, prepared as the encoder prepares them: [n, d]."""
    return torch.cat(
        [
            in_batches(trunk, [prepare_picture(flatten(load_picture(p))) for p in paths[k : k + 256]])
            for k in range(0, len(paths), 256)
        ]
    )


def scenes(trunk: nn.Module, paths: Sequence[Path], seed: int) -> Tensor:
    """Features of pictures cropped, recoloured, and set on grounds if they are transparent: [n, d]."""
    images = [load_picture(p) for p in paths]
    out = []
    for start in range(0, len(images), 256):
        rows = []
        for k in range(start, min(len(images), start + 256)):
            rng = np.random.default_rng((seed, k))
            view = recolour(scene(images, k, STUDENT_SIDE, rng), rng)
            rows.append(network_input(np.asarray(view)[None]))
        out.append(in_batches(trunk, rows))
    return torch.cat(out)


@dataclass(frozen=True)
class ClipFeatures:
    """Patches of clips: features [n, d] and which clip each is of [n]."""

    features: Tensor
    owner: Tensor

    def means(self, values: Tensor, clips: int) -> Tensor:
        """The mean of patch values [n, d] over each clip: [clips, d]."""
        total = torch.zeros(clips, values.shape[1]).index_add_(0, self.owner, values)
        return total / torch.bincount(self.owner, minlength=clips)[:, None].clamp_min(1)


def clip_patches(trunk: nn.Module, paths: Sequence[Path]) -> ClipFeatures:
    """Features of every clip's patches, cut as the encoder cuts them, but more of them."""
    rows, owner = [], []
    for k, path in enumerate(paths):
        patches = cut_patches(torch.from_numpy(load_clip(path)), HEARD_PATCHES)
        rows.append(log_mel(patches)[:, None])
        owner += [k] * len(patches)
    return ClipFeatures(trunk_features(trunk, torch.cat(rows)), torch.tensor(owner))


def mixed_frames(
    trunk: nn.Module, teachers: Path, paths: Sequence[Path], seed: int
) -> tuple[Tensor, npt.NDArray[np.float32]]:
    """Student's and teacher's features of the clips' frames, each at a random level."""
    teacher, rng = YamNet(teachers), np.random.default_rng(seed)
    frames = [f for path in paths for f in clip_frames(load_clip(path), 8)]
    frames = [f * np.float32(np.exp(rng.uniform(-2.0, 0.5))) for f in frames]
    answers = np.stack([teacher.reply(f).features for f in frames])
    sound = torch.from_numpy(np.stack(frames))[:, :PATCH]
    return trunk_features(trunk, log_mel(sound)[:, None]), answers


def pool_features(trunk: nn.Module, views: Views, count: int) -> Tensor:
    """The student's features of a pool's first views: [count, d]."""
    return torch.cat(
        [
            trunk_features(trunk, network_input(views["input"][k : k + 256]))
            for k in range(0, min(count, len(views["input"])), 256)
        ]
    )[:count]


def teacher_pictures(teachers: Path, paths: Sequence[Path]) -> Tensor:
    """MobileNetV2's features of pictures on white: [n, 1280]."""
    teacher = MobileNetV2(teachers)
    size = (PICTURE_SIDE, PICTURE_SIDE)
    replies = []
    for path in paths:
        image = flatten(load_picture(path))
        side = min(image.size)
        left, top = (image.width - side) / 2, (image.height - side) / 2
        box = (left, top, left + side, top + side)
        square = image.resize(size, Image.Resampling.BILINEAR, box=box)
        replies.append(teacher.reply(np.asarray(square)).features)
    return torch.from_numpy(np.stack(replies))


def teacher_clips(teachers: Path, paths: Sequence[Path]) -> Tensor:
    """YAMNet's features of clips, the mean over their frames: [n, 1024]."""
    teacher = YamNet(teachers)
    return torch.from_numpy(
        np.stack(
            [
                np.mean([teacher.reply(f).features for f in clip_frames(load_clip(path))], axis=0)
                for path in paths
            ]
        )
    )

"""The picture teacher as torch modules, stage by stage: what a student's stages are taught by.

Given the teacher's TFLite file, it gives back modules that compute in real numbers what the file computes
in 8 bits, cut where the student's stages end. They answer for any map, not only for one that a picture
leads to, so a stage can be asked about blurred, mixed and noisy maps too.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.compact.teachers import MobileNetV2


class TeacherLayer(nn.Module):
    """A convolution with bias, padded as TensorFlow's "same", with ReLU6 or nothing after it."""

    weight: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor, stride: int, depthwise: bool, bounded: bool) -> None:
        super().__init__()
        self.register_buffer("weight", weight.contiguous(memory_format=torch.channels_last))
        self.register_buffer("bias", bias)
        self.size, self.stride, self.bounded = weight.shape[2], stride, bounded
        self.groups = len(weight) if depthwise else 1

    def forward(self, x: Tensor) -> Tensor:
        """[n, in, h, w] -> [n, out, ceil(h / stride), ceil(w / stride)]."""
        height, width = (self._padding(side) for side in x.shape[2:])
        padded = F.pad(x, (*width, *height))
        x = F.conv2d(padded, self.weight, self.bias, self.stride, groups=self.groups)
        return F.relu6(x) if self.bounded else x

    def _padding(self, side: int) -> tuple[int, int]:
        missing = max((-(-side // self.stride) - 1) * self.stride + self.size - side, 0)
        return missing // 2, missing - missing // 2


class TeacherStage(nn.Module):
    """Layers in a row; of a block whose input is added to its output, what is added."""

    def __init__(self, layers: Sequence[TeacherLayer]) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.adds = False

    def inner(self, x: Tensor) -> Tensor:
        """What the layers make of a map."""
        out: Tensor = self.layers(x)
        return out

    def forward(self, x: Tensor) -> Tensor:
        """The stage's output."""
        return x + self.inner(x) if self.adds else self.inner(x)


def picture_stages(teachers: Path) -> list[TeacherStage]:
    """MobileNetV2 but its classifier, in the stages of a `MobileTrunk` with as many blocks.

    The first is its stem and two blocks, the last its last block and the layer of features; each one
    between is a block.
    """
    teacher = MobileNetV2(teachers)
    blocks: list[TeacherStage] = []
    layers: list[TeacherLayer] = []
    for name, inputs, output in teacher.operations():
        if name == "MEAN":
            break
        if name == "ADD":
            blocks[-1].adds = True
        elif name.endswith("CONV_2D"):
            layers.append(_layer(teacher, name, inputs, output))
            if not layers[-1].bounded:  # a block ends with its only layer that may answer below zero
                blocks.append(TeacherStage(layers))
                layers = []
    opening = [layer for block in blocks[:2] for layer in block.layers]
    closing = [*blocks[-1].layers, *layers]
    stages = [TeacherStage(opening), *blocks[2:-1], TeacherStage(closing)]  # type: ignore[arg-type]
    return [stage.to(memory_format=torch.channels_last).eval() for stage in stages]  # type: ignore[call-overload]


def _layer(
    teacher: MobileNetV2, name: str, inputs: Sequence[dict[str, Any]], output: dict[str, Any]
) -> TeacherLayer:
    given, kernel, bias = inputs
    depthwise = name == "DEPTHWISE_CONV_2D"
    weight = torch.from_numpy(teacher.read(kernel)).permute((3, 0, 1, 2) if depthwise else (0, 3, 1, 2))
    stride = round(given["shape"][1] / output["shape"][1])
    lowest = np.iinfo(output["dtype"]).min
    bounded = int(output["quantization_parameters"]["zero_points"][0]) == lowest
    return TeacherLayer(weight, torch.from_numpy(teacher.read(bias)), stride, depthwise, bounded)

"""The teachers as torch modules, stage by stage: what a student's stages are taught by.

Given the teachers' TFLite files, it gives back modules that compute in real numbers what the file computes
in 8 bits, cut where the student's stages end. They answer for any map, not only for one that some input
leads to, so a stage can be asked about blurred, mixed and noisy maps too.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.compact.teachers import MobileNetV2, Teacher, YamNet

Activation = Callable[[Tensor], Tensor]


class TeacherLayer(nn.Module):
    """A convolution with bias, padded as TensorFlow's "same", and what comes after it, if anything does."""

    weight: Tensor
    bias: Tensor

    def __init__(
        self, weight: Tensor, bias: Tensor, stride: int, depthwise: bool, activation: Activation | None
    ) -> None:
        super().__init__()
        self.register_buffer("weight", weight.contiguous(memory_format=torch.channels_last))
        self.register_buffer("bias", bias)
        self.size, self.stride, self.activation = weight.shape[2], stride, activation
        self.groups = len(weight) if depthwise else 1

    def forward(self, x: Tensor) -> Tensor:
        """[n, in, h, w] -> [n, out, ceil(h / stride), ceil(w / stride)]."""
        height, width = (self._padding(side) for side in x.shape[2:])
        padded = F.pad(x, (*width, *height))
        x = F.conv2d(padded, self.weight, self.bias, self.stride, groups=self.groups)
        return x if self.activation is None else self.activation(x)

    def _padding(self, side: int) -> tuple[int, int]:
        missing = max((-(-side // self.stride) - 1) * self.stride + self.size - side, 0)
        return missing // 2, missing - missing // 2


class TeacherStage(nn.Module):
    """Layers in a row; of a block whose input is added to its output, what is added.

    A `rectified` stage ends with a ReLU, which is not among what a student's stage learns.
    """

    def __init__(self, layers: Sequence[TeacherLayer], rectified: bool = False) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.adds, self.rectified = False, rectified

    def inner(self, x: Tensor) -> Tensor:
        """What the layers make of a map: what a student's stage is to answer."""
        out: Tensor = self.layers(x)
        return out

    def forward(self, x: Tensor) -> Tensor:
        """The stage's output, which the next one is given."""
        x = x + self.inner(x) if self.adds else self.inner(x)
        return torch.relu(x) if self.rectified else x


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
            lowest = np.iinfo(output["dtype"]).min
            bounded = int(output["quantization_parameters"]["zero_points"][0]) == lowest
            layers.append(_layer(teacher, name, inputs, output, F.relu6 if bounded else None))
            if not bounded:  # a block ends with its only layer that may answer below zero
                blocks.append(TeacherStage(layers))
                layers = []
    opening = [layer for block in blocks[:2] for layer in block.layers]
    closing = [*blocks[-1].layers, *layers]
    return _ready([TeacherStage(opening), *blocks[2:-1], TeacherStage(closing)])  # type: ignore[arg-type]


def sound_stages(teachers: Path) -> list[TeacherStage]:
    """YAMNet but its front end and its classifier, in the stages of a `SoundTrunk`.

    The first is its stem and two of its separable convolutions; each one after is one of them.
    """
    teacher = YamNet(teachers)
    stored: dict[int, dict[str, Any]] = {}
    layers: list[TeacherLayer] = []
    for name, inputs, output in teacher.operations():
        if name == "MEAN":
            break
        if name == "DEQUANTIZE":  # of a kernel, whose 8 bits are what the file holds
            stored[output["index"]] = inputs[0]
        elif name.endswith("CONV_2D"):
            given, kernel, bias = inputs
            kernel = stored.get(kernel["index"], kernel)
            layers.append(_layer(teacher, name, (given, kernel, bias), output, torch.relu))
    opening, rest = layers[:5], layers[5:]
    stages = [opening, *(rest[k : k + 2] for k in range(0, len(rest), 2))]
    for stage in stages:
        stage[-1].activation = None
    return _ready([TeacherStage(stage, rectified=True) for stage in stages])


def _ready(stages: Sequence[TeacherStage]) -> list[TeacherStage]:
    return [stage.to(memory_format=torch.channels_last).eval() for stage in stages]  # type: ignore[call-overload]


def _layer(
    teacher: Teacher,
    name: str,
    inputs: Sequence[dict[str, Any]],
    output: dict[str, Any],
    activation: Activation | None,
) -> TeacherLayer:
    given, kernel, bias = inputs
    depthwise = name == "DEPTHWISE_CONV_2D"
    weight = torch.from_numpy(teacher.read(kernel)).permute((3, 0, 1, 2) if depthwise else (0, 3, 1, 2))
    stride = round(given["shape"][1] / output["shape"][1])
    return TeacherLayer(weight, torch.from_numpy(teacher.read(bias)), stride, depthwise, activation)

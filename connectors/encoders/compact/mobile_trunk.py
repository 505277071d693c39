"""The trunk of the compact image tower: inverted residual blocks, after MobileNetV2.

It is given a picture [n, 3, h, w], h and w multiples of 32, and gives back pooled features [n, features]. It
is a list of stages, each ending on a map of the same size as one of its teacher's: that is how it is taught
(`training.compact.stage_fitting`). Source of the block: Sandler et al. 2018, "MobileNetV2", table 1.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from connectors.encoders.compact.conv_trunk import conv_norm

AT_ONCE = 4
"""Pictures evaluated at once: the maps of more are too large for a core's cache and for the allocator's."""


class Depthwise(nn.Module):
    """A 3x3 convolution of each channel by itself, then BatchNorm."""

    def __init__(self, width: int, stride: int) -> None:
        super().__init__()
        conv = nn.Conv2d(width, width, 3, stride, 0, groups=width, bias=False)
        self.layers = nn.Sequential(conv, nn.BatchNorm2d(width))
        self.padding = around(stride)

    def forward(self, x: Tensor) -> Tensor:
        """[n, width, h, w] -> [n, width, h / stride, w / stride]."""
        out: Tensor = self.layers(F.pad(x, self.padding))
        return out


class InvertedResidual(nn.Module):
    """Widen, look around, narrow; `inner` is what is added to the input where the shapes allow it."""

    def __init__(self, dim_in: int, hidden: int, dim_out: int, stride: int) -> None:
        super().__init__()
        self.expand = conv_norm(dim_in, hidden, 1)
        self.spread = Depthwise(hidden, stride)
        self.project = conv_norm(hidden, dim_out, 1)
        self.adds = stride == 1 and dim_in == dim_out

    def inner(self, x: Tensor) -> Tensor:
        """[n, dim_in, h, w] -> [n, dim_out, h / stride, w / stride]."""
        out: Tensor = self.project(F.relu6(self.spread(F.relu6(self.expand(x)))))
        return out

    def forward(self, x: Tensor) -> Tensor:
        """The block's output: `inner`, and the input where it is added."""
        return x + self.inner(x) if self.adds else self.inner(x)


class Opening(nn.Module):
    """The first stage: pixels to a map a quarter as wide."""

    adds = False

    def __init__(self, channels: int, stem: int, width: int, hidden: int, dim_out: int) -> None:
        super().__init__()
        conv = nn.Conv2d(channels, stem, 3, 2, 0, bias=False)
        self.stem = nn.Sequential(conv, nn.BatchNorm2d(stem))
        self.spread = Depthwise(stem, 1)
        self.project = conv_norm(stem, width, 1)
        self.block = InvertedResidual(width, hidden, dim_out, 2)

    def inner(self, x: Tensor) -> Tensor:
        """[n, channels, h, w] -> [n, dim_out, h / 4, w / 4]."""
        x = F.relu6(self.stem(F.pad(x, around(2))))
        out: Tensor = self.block(self.project(F.relu6(self.spread(x))))
        return out

    forward = inner


class Closing(nn.Module):
    """The last stage: a block that narrows to `neck`, and a 1x1 convolution to the features."""

    adds = False

    def __init__(self, dim_in: int, hidden: int, neck: int, features: int) -> None:
        super().__init__()
        self.block = InvertedResidual(dim_in, hidden, neck, 1)
        self.top = conv_norm(neck, features, 1)

    def inner(self, x: Tensor) -> Tensor:
        """[n, dim_in, h, w] -> [n, features, h, w], 0 to 6."""
        return F.relu6(self.top(self.block(x)))

    forward = inner


Stage = Opening | InvertedResidual | Closing


class MobileTrunk(nn.Module):
    """Stages, then the mean over the grid.

    `opening`: widths of the stem and of its two maps; `blocks`: width and stride of each block between;
    every block is `expansion` times as wide inside as its input.
    """

    def __init__(
        self,
        channels: int,
        opening: Sequence[int],
        blocks: Sequence[Sequence[int]],
        neck: int,
        features: int,
        expansion: int = 6,
    ) -> None:
        super().__init__()
        stem, narrow, first = opening
        stages: list[nn.Module] = [Opening(channels, stem, narrow, expansion * narrow, first)]
        widths = [first, *(width for width, _ in blocks)]
        for (dim_in, dim_out), (_, stride) in zip(pairwise(widths), blocks, strict=True):
            stages.append(InvertedResidual(dim_in, expansion * dim_in, dim_out, stride))
        stages.append(Closing(widths[-1], expansion * widths[-1], neck, features))
        self.stages = nn.ModuleList(stages)

    def maps(self, x: Tensor) -> tuple[Tensor]:
        """Features before the mean: the one map that is asked for when all stages are trained together."""
        for stage in self.stages:
            x = stage(x)
        return (x,)

    def forward(self, x: Tensor) -> Tensor:
        """[n, channels, h, w] -> [n, features]."""
        if self.training:
            return self.maps(x)[0].mean(dim=(2, 3))
        return torch.cat([self.maps(few)[0].mean(dim=(2, 3)) for few in torch.split(x, AT_ONCE)])


def around(stride: int) -> tuple[int, int, int, int]:
    """Padding of a 3x3 convolution over maps of even sides, as TensorFlow's "same" has it."""
    return (0, 1, 0, 1) if stride == 2 else (1, 1, 1, 1)


def folded(trunk: nn.Module) -> nn.Module:
    """`trunk`, evaluating, with every BatchNorm folded into the convolution before it: half the passes.

    Its kernels are laid out channels last, as the CPU's convolutions like them best.
    """
    for module in list(trunk.eval().modules()):
        if isinstance(module, nn.Sequential) and [type(m) for m in module] == [nn.Conv2d, nn.BatchNorm2d]:
            module[0] = fuse_conv_bn_eval(module[0], module[1])  # type: ignore[type-var,arg-type]
            module[1] = nn.Identity()
    return trunk.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]

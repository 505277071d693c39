"""The layers that the compact image and audio trunks are made of: convolutions with BatchNorm."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

AT_ONCE = 4
"""Inputs evaluated at once: the maps of more are too large for a core's cache and for the allocator's."""


def conv_norm(dim_in: int, dim_out: int, size: int, stride: int = 1) -> nn.Sequential:
    """Convolution without bias, then BatchNorm."""
    conv = nn.Conv2d(dim_in, dim_out, size, stride, size // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(dim_out))


class Depthwise(nn.Module):
    """A 3x3 convolution of each channel by itself, then BatchNorm."""

    def __init__(self, width: int, stride: int) -> None:
        super().__init__()
        conv = nn.Conv2d(width, width, 3, stride, 0, groups=width, bias=False)
        self.layers = nn.Sequential(conv, nn.BatchNorm2d(width))
        self.stride, self.padding = stride, around(stride)

    def forward(self, x: Tensor) -> Tensor:
        """[n, width, h, w] -> [n, width, h / stride, w / stride]."""
        x = F.pad(x, self.padding)
        conv, norm = self.layers
        assert isinstance(conv, nn.Conv2d)
        if self.training and self.stride > 1:
            # The same answer: going back through a strided one takes the CPU's kernels ten times as long.
            x = F.conv2d(x, conv.weight, conv.bias, groups=conv.groups)[:, :, :: self.stride, :: self.stride]
            x = x.contiguous(memory_format=torch.channels_last)
        else:
            x = conv(x)
        out: Tensor = norm(x)
        return out


class Stage(nn.Module):
    """A piece of a trunk that can be taught by itself: `inner` is what it has to learn."""

    def inner(self, x: Tensor) -> Tensor:
        """[n, dim_in, h, w] -> [n, dim_out, h / stride, w / stride]."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """The stage's output: `inner`, unless a stage says otherwise."""
        return self.inner(x)


class InvertedResidual(Stage):
    """Widen, look around, narrow; `inner` is what is added to the input where the shapes allow it.

    Source: Sandler et al. 2018, "MobileNetV2", table 1.
    """

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


class Separable(Stage):
    """Look around, then mix the channels by way of `rank` of them: two thin matrices for a large one.

    Source: Howard et al. 2017, "MobileNets", figure 3, whose mixing is one matrix.
    """

    def __init__(self, dim_in: int, rank: int, dim_out: int, stride: int) -> None:
        super().__init__()
        self.spread = Depthwise(dim_in, stride)
        self.gather = nn.Conv2d(dim_in, rank, 1, bias=False)
        self.project = conv_norm(rank, dim_out, 1)

    def inner(self, x: Tensor) -> Tensor:
        """[n, dim_in, h, w] -> [n, dim_out, h / stride, w / stride]."""
        out: Tensor = self.project(self.gather(torch.relu(self.spread(x))))
        return out


class Opening(Stage):
    """The first stage: an input to a map a quarter as wide."""

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


class Trunk(nn.Module):
    """Stages, then the mean over the grid."""

    stages: nn.ModuleList

    def map(self, x: Tensor) -> Tensor:
        """Features before the mean: [n, features, h / 32, w / 32]."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """[n, channels, h, w] -> [n, features]."""
        if self.training:
            return self.map(x).mean(dim=(2, 3))
        return torch.cat([self.map(few).mean(dim=(2, 3)) for few in torch.split(x, AT_ONCE)])


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

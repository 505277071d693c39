"""The convolutional trunk of the compact audio tower: a small residual network.

It is given log-mel patches [n, 1, 96, 64] and gives back pooled features [n, features]. Its four stages
halve the grid down to a 32nd; dense 3x3 convolutions, since on a CPU they train and run faster than
separable ones of the same accuracy.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def conv_norm(dim_in: int, dim_out: int, size: int, stride: int = 1) -> nn.Sequential:
    """Convolution without bias, then BatchNorm."""
    conv = nn.Conv2d(dim_in, dim_out, size, stride, size // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(dim_out))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut (He et al. 2015, figure 2)."""

    def __init__(self, dim_in: int, dim_out: int, stride: int) -> None:
        super().__init__()
        self.first = conv_norm(dim_in, dim_out, 3, stride)
        self.second = conv_norm(dim_out, dim_out, 3)
        plain = stride == 1 and dim_in == dim_out
        self.shortcut = nn.Identity() if plain else conv_norm(dim_in, dim_out, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """[n, dim_in, h, w] -> [n, dim_out, h / stride, w / stride]."""
        return torch.relu(self.second(torch.relu(self.first(x))) + self.shortcut(x))


class ConvTrunk(nn.Module):
    """Stem (stride 4), four stages, a 1x1 convolution to `features` channels, mean over the grid."""

    def __init__(self, channels: int, widths: Sequence[int], blocks: Sequence[int], features: int) -> None:
        super().__init__()
        first = widths[0]
        self.stem = nn.Sequential(
            conv_norm(channels, first // 2, 3, 2), nn.ReLU(), conv_norm(first // 2, first, 3, 2),
            nn.ReLU(),
        )  # fmt: skip
        stages = []
        dim = first
        for stage, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            strides = [1 if stage == 0 else 2] + [1] * (count - 1)
            layers = []
            for stride in strides:
                layers.append(ResidualBlock(dim, width, stride))
                dim = width
            stages.append(nn.Sequential(*layers))
        self.stages = nn.ModuleList(stages)
        self.top = conv_norm(dim, features, 1)

    def maps(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Inner maps for distillation: third stage, fourth stage, and features before the mean."""
        x = self.stem(x)
        for stage in self.stages[:-1]:
            x = stage(x)
        late = self.stages[-1](x)
        return x, late, torch.relu(self.top(late))

    def forward(self, x: Tensor) -> Tensor:
        """[n, channels, h, w] -> [n, features]."""
        return self.maps(x)[2].mean(dim=(2, 3))

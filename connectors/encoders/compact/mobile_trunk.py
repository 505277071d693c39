"""The trunk of the compact image tower: inverted residual blocks, after MobileNetV2.

It is given a picture [n, 3, h, w], h and w multiples of 32, and gives back pooled features [n, features]. It
is a list of stages, each ending on a map of the same size as one of its teacher's: that is how it is taught
(`training.compact.stage_fitting`).
"""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from connectors.encoders.compact.conv_layers import InvertedResidual, Opening, Stage, Trunk, conv_norm


class Closing(Stage):
    """The last stage: a block that narrows to `neck`, and a 1x1 convolution to the features."""

    def __init__(self, dim_in: int, hidden: int, neck: int, features: int) -> None:
        super().__init__()
        self.block = InvertedResidual(dim_in, hidden, neck, 1)
        self.top = conv_norm(neck, features, 1)

    def inner(self, x: Tensor) -> Tensor:
        """[n, dim_in, h, w] -> [n, features, h, w], 0 to 6."""
        return F.relu6(self.top(self.block(x)))


class MobileTrunk(Trunk):
    """Stages that end on linear maps.

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
        stages: list[Stage] = [Opening(channels, stem, narrow, expansion * narrow, first)]
        widths = [first, *(width for width, _ in blocks)]
        for (dim_in, dim_out), (_, stride) in zip(pairwise(widths), blocks, strict=True):
            stages.append(InvertedResidual(dim_in, expansion * dim_in, dim_out, stride))
        stages.append(Closing(widths[-1], expansion * widths[-1], neck, features))
        self.stages = nn.ModuleList(stages)

    def map(self, x: Tensor) -> Tensor:
        """See `Trunk.map`."""
        for stage in self.stages:
            x = stage(x)
        return x

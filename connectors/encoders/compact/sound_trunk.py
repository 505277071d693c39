"""The trunk of the compact audio tower: wide blocks where maps are large, thin matrices where they are deep.

It is given log-mel patches [n, channels, h, w], h and w multiples of 32, and gives back pooled features
[n, features]. Each of its stages ends, before a ReLU, on a map of the same size as one of its teacher's: that
is how it is taught (`training.compact.stage_fitting`).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from connectors.encoders.compact.conv_layers import InvertedResidual, Opening, Separable, Stage, Trunk


class SoundTrunk(Trunk):
    """Stages with a ReLU after each.

    `opening`: widths of the stem, of its map and inside its block; then, each with its stride, the first
    stage's map and those of `wide` (inverted residuals) and `deep` blocks (separable convolutions), as
    [width, stride, width inside].
    """

    def __init__(
        self,
        channels: int,
        opening: Sequence[int],
        wide: Sequence[Sequence[int]],
        deep: Sequence[Sequence[int]],
    ) -> None:
        super().__init__()
        stem, narrow, hidden, width = opening
        stages: list[Stage] = [Opening(channels, stem, narrow, hidden, width)]
        kinds: tuple[type[InvertedResidual | Separable], ...] = (InvertedResidual, Separable)
        for kind, blocks in zip(kinds, (wide, deep), strict=True):
            for dim_out, stride, inside in blocks:
                stages.append(kind(width, inside, dim_out, stride))
                width = dim_out
        self.stages = nn.ModuleList(stages)

    def map(self, x: Tensor) -> Tensor:
        """See `Trunk.map`."""
        for stage in self.stages:
            x = torch.relu(stage.inner(x))  # type: ignore[operator]
        return x

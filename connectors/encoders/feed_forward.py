"""The feed-forward part of a transformer block, as HTS-AT and PointBERT both have it (timm's `Mlp`).

State dict: `fc1` and `fc2`, the names of both published checkpoints.
"""

from torch import Tensor, nn
from torch.nn import functional as F


class FeedForward(nn.Module):
    """Linear to four times the width, GELU, linear back: [..., width] -> [..., width]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        out: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return out

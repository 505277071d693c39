import pytest
import torch
from torch import nn

from connectors.encoders.compact.conv_layers import Separable, folded
from connectors.encoders.compact.sound_trunk import SoundTrunk


@pytest.fixture
def trunk() -> SoundTrunk:
    """A small trunk whose BatchNorms have seen something."""
    torch.manual_seed(0)
    made = SoundTrunk(1, [8, 8, 16, 16], [[16, 2, 32]], [[32, 2, 8], [32, 2, 16]])
    made.train()
    with torch.no_grad():
        for _ in range(3):
            made(torch.randn(8, 1, 96, 64))
    return made.eval()


@torch.no_grad()
def test_maps_shrink_to_a_32nd_and_a_relu_follows_every_stage(trunk: SoundTrunk) -> None:
    x = torch.randn(2, 1, 96, 64)
    y, sides = x, []
    for stage in trunk.stages:
        inner = stage.inner(y)
        assert (inner < 0).any()
        y = inner.clamp_min(0)
        sides.append(tuple(y.shape[1:]))
    assert sides == [(16, 24, 16), (16, 12, 8), (32, 6, 4), (32, 3, 2)]
    assert torch.allclose(trunk(x), y.mean(dim=(2, 3)), atol=1e-5)


@torch.no_grad()
def test_folding_changes_no_answer_and_leaves_no_batch_norm(trunk: SoundTrunk) -> None:
    x = torch.randn(3, 1, 96, 64)
    before = trunk(x)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded(trunk).modules())
    assert torch.allclose(trunk(x), before, atol=1e-4)


def test_two_thin_matrices_are_smaller_than_a_large_one() -> None:
    thin = sum(p.numel() for p in Separable(64, 8, 64, 1).parameters())
    assert thin < 64 * 64

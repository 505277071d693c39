import pytest
import torch
from torch import nn

from connectors.encoders.compact.conv_layers import AT_ONCE, Depthwise, InvertedResidual, folded
from connectors.encoders.compact.mobile_trunk import MobileTrunk


@pytest.fixture
def trunk() -> MobileTrunk:
    """A small trunk whose BatchNorms have seen something."""
    torch.manual_seed(0)
    made = MobileTrunk(3, [8, 4, 8], [[8, 1], [16, 2], [16, 1], [24, 2], [24, 2]], 16, 32, expansion=2)
    made.train()
    with torch.no_grad():
        for _ in range(3):
            made(torch.randn(8, 3, 64, 64))
    return made.eval()


@torch.no_grad()
def test_stages_halve_the_map_to_a_32nd_and_their_mean_is_the_features(trunk: MobileTrunk) -> None:
    x, sides = torch.randn(2, 3, 64, 96), []
    y = x
    for stage in trunk.stages:
        y = stage(y)
        sides.append(tuple(y.shape[1:]))
    assert sides[0] == (8, 16, 24) and sides[-1] == (32, 2, 3)
    assert torch.allclose(trunk(x), y.mean(dim=(2, 3)), atol=1e-5)
    assert y.min() >= 0 and y.max() <= 6


@torch.no_grad()
def test_a_block_adds_what_it_computes_to_its_input_where_it_can(trunk: MobileTrunk) -> None:
    adds = [stage.adds for stage in trunk.stages if isinstance(stage, InvertedResidual)]
    assert adds == [True, False, True, False, False]
    x = torch.randn(1, 8, 16, 16)
    assert torch.allclose(trunk.stages[1](x), x + trunk.stages[1].inner(x))


@torch.no_grad()
def test_folding_changes_no_answer_and_leaves_no_batch_norm(trunk: MobileTrunk) -> None:
    x = torch.randn(3, 3, 64, 64)
    before = trunk(x)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded(trunk).modules())
    assert torch.allclose(trunk(x), before, atol=1e-4)


@torch.no_grad()
def test_more_pictures_than_fit_at_once_are_answered_as_each_alone(trunk: MobileTrunk) -> None:
    x = torch.randn(2 * AT_ONCE + 1, 3, 64, 64)
    alone = torch.cat([trunk(each[None]) for each in x])
    assert torch.allclose(trunk(x), alone, atol=1e-5)


@torch.no_grad()
def test_a_strided_convolution_begins_at_the_first_pixel() -> None:
    layer = Depthwise(1, 2).eval()
    layer.layers[0].weight.zero_()
    layer.layers[0].weight[0, 0, 0, 0] = 1
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert torch.allclose(layer(x), x[:, :, ::2, ::2], atol=1e-3)


def test_a_strided_convolution_answers_in_training_as_it_does_after() -> None:
    torch.manual_seed(0)
    layer, x = Depthwise(4, 2), torch.randn(2, 4, 8, 6)
    layer.layers[1].eval()
    with torch.no_grad():
        taught = layer(x)
        assert taught.shape == (2, 4, 4, 3)
        assert torch.allclose(layer.eval()(x), taught, atol=1e-6)

"""Projectors compute what the papers' layers compute and rebuild themselves from their specs."""

import pytest
import torch
from torch.nn import functional as F

from connectors.errors import CheckpointError
from connectors.projectors import (
    Centre,
    Chain,
    Ensemble,
    Linear,
    LinearNormRelu,
    MlpBlock,
    MlpStack,
    Projector,
    SkipStack,
    build_projector,
)

EXAMPLES: list[Projector] = [
    Linear(6, 4),
    MlpBlock(6, 8, 4),
    MlpStack(6, 8, 4, blocks=3),
    SkipStack(6, 8, 4, blocks=1),
    LinearNormRelu(6, 4),
    Centre(6),
    Chain([Centre(6), Linear(6, 4)]),
    Ensemble([Linear(6, 4), Chain([Centre(6), MlpBlock(6, 8, 4)])]),
]


def randomise(projector: torch.nn.Module) -> None:
    """Give every weight and running statistic a value of its own."""
    generator = torch.Generator().manual_seed(3)
    for value in projector.state_dict().values():
        if value.is_floating_point():
            value.copy_(torch.rand(value.shape, generator=generator) + 0.1)


@pytest.mark.parametrize("projector", EXAMPLES, ids=lambda p: p.kind)
def test_a_projector_is_rebuilt_from_its_spec_and_weights(projector: Projector) -> None:
    randomise(projector)
    copy = build_projector(projector.spec)
    copy.load_state_dict(projector.state_dict())
    x = torch.randn(5, projector.dim_in)
    torch.testing.assert_close(copy.eval()(x), projector.eval()(x))
    assert projector(x).shape == (5, projector.dim_out)


def test_f_l_starts_as_the_identity() -> None:
    x = torch.randn(3, 7)
    torch.testing.assert_close(Linear(7, 7)(x), x)


def affine(x: torch.Tensor, state: dict[str, torch.Tensor], layer: str) -> torch.Tensor:
    return F.linear(x, state[f"{layer}.weight"], state[f"{layer}.bias"])


def batch_norm(x: torch.Tensor, state: dict[str, torch.Tensor], layer: str) -> torch.Tensor:
    statistics = (state[f"{layer}.running_mean"], state[f"{layer}.running_var"])
    return F.batch_norm(x, *statistics, state[f"{layer}.weight"], state[f"{layer}.bias"])


def test_f_m_is_linear_norm_relu_linear_norm_twice_under_the_authors_keys() -> None:
    f_m = MlpStack(6, 8, 6, blocks=2).eval()
    randomise(f_m)
    state = f_m.state_dict()
    x = expected = torch.randn(5, 6)
    for block in ("mlp1", "mlp2"):
        hidden = affine(expected, state, f"{block}.net1.0")
        hidden = F.relu(batch_norm(hidden, state, f"{block}.net1.1"))
        expected = batch_norm(affine(hidden, state, f"{block}.net2.0"), state, f"{block}.net2.1")
    torch.testing.assert_close(f_m(x), expected)


def test_the_ulip_clip_head_ends_in_a_relu() -> None:
    head = LinearNormRelu(6, 4).eval()
    randomise(head)
    state = head.state_dict()
    x = torch.randn(5, 6)
    expected = F.relu(batch_norm(affine(x, state, "net.0"), state, "net.1"))
    torch.testing.assert_close(head(x), expected)


def test_an_ensemble_weighs_its_members_directions_not_their_lengths() -> None:
    short, long = Linear(2, 2), Linear(2, 2)
    with torch.no_grad():
        short.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 0.0]]))
        long.weight.copy_(torch.tensor([[0.0, 0.0], [0.0, 50.0]]))
    out = Ensemble([short, long])(torch.tensor([[1.0, 1.0]]))
    torch.testing.assert_close(out, torch.tensor([[0.5, 0.5]]))


@pytest.mark.parametrize(
    "spec", [{"kind": "magic"}, {"kind": "linear"}, {"kind": "mlp_stack", "blocks": 0}, {}]
)
def test_a_spec_that_cannot_be_read_is_a_checkpoint_error(spec: dict[str, object]) -> None:
    with pytest.raises(CheckpointError):
        build_projector(spec)


def test_a_skip_stack_begins_as_its_linear_part():
    torch.manual_seed(0)
    projector = SkipStack(6, 10, 4)
    x = torch.randn(7, 6)

    torch.testing.assert_close(projector(x), projector.linear(x))
    projector.stack.mlp2.net2[1].weight.data.fill_(1.0)
    assert not torch.allclose(projector(x), projector.linear(x))

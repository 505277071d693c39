"""Packed layers compute what the layers they replace computed, in both formats, for any number of rows."""

import pytest
import torch
from torch import nn

from connectors.packed_linear import PackedLinear, can_pack, pack

pytestmark = pytest.mark.skipif(not can_pack(), reason="this torch has no oneDNN")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bias", [True, False])
def test_a_packed_layer_gives_what_the_layer_gave(dtype, bias):
    torch.manual_seed(0)
    linear = nn.Linear(96, 200, bias=bias).to(dtype)
    packed = PackedLinear(linear)
    for shape in ((1, 96), (3, 7, 96), (500, 96), (2, 0, 96)):
        x = torch.randn(shape, dtype=dtype)
        with torch.inference_mode():
            wanted = linear(x)
            for given in (x, x.transpose(0, -2).contiguous().transpose(0, -2)):
                found = packed(given)
                assert found.dtype == dtype
                assert torch.allclose(found, wanted, atol=1e-6 if dtype == torch.float32 else 0.02)


def test_linear_layers_are_packed_wherever_they_are_and_nothing_else_is():
    network = nn.Sequential(nn.Linear(8, 8), nn.ModuleDict({"inner": nn.Linear(8, 8)}), nn.LayerNorm(8))
    attention = nn.MultiheadAttention(8, 2)
    network.append(attention)
    pack(network)
    assert isinstance(network[0], PackedLinear)
    assert isinstance(network[1]["inner"], PackedLinear)
    assert isinstance(attention.out_proj, nn.Linear), "it is read, not called"

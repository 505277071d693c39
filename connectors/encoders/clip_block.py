"""The transformer block of open_clip's towers, made for inference.

Given a tower of open_clip with its weights, `make_fast` replaces the blocks by ones that compute the same
with one product for queries, keys and values, fused attention, one pass for QuickGELU, and in the last block
of a picture's tower only the class token, which is all that is read of it.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

_QUICK = 1.702
"""QuickGELU is x * sigmoid(1.702 x): SiLU of 1.702 x, divided by 1.702."""


class ClipBlock(nn.Module):
    """Takes over the weights of a self-attention `ResidualAttentionBlock` of open_clip."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        from open_clip.transformer import QuickGELU

        self.heads = block.attn.num_heads
        self.first_token_only = False
        self.norm1, self.scale1 = block.ln_1, block.ls_1
        self.qkv = _linear(block.attn.in_proj_weight, block.attn.in_proj_bias)
        self.out = _linear(block.attn.out_proj.weight, block.attn.out_proj.bias)
        self.norm2, self.scale2 = block.ln_2, block.ls_2
        self.fc1, self.activation, self.fc2 = block.mlp.c_fc, block.mlp.gelu, block.mlp.c_proj
        if isinstance(self.activation, QuickGELU):
            self.activation = nn.SiLU(inplace=True)
            with torch.no_grad():
                self.fc1.weight.mul_(_QUICK)
                self.fc1.bias.mul_(_QUICK)
                self.fc2.weight.div_(_QUICK)

    def get_weight_dtype(self) -> torch.dtype:
        """The number format of the weights, as open_clip asks its blocks for it."""
        dtype: torch.dtype = self.norm1.weight.dtype
        return dtype

    def forward(
        self, x: Tensor, k_x: None = None, v_x: None = None, attn_mask: Tensor | None = None
    ) -> Tensor:
        """[b, n, width] -> [b, n or 1, width]. The mask is added to scores: [n, n] or [b * heads, n, n]."""
        b, n, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(b, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        if self.first_token_only:
            x, q = x[:, :1], q[:, :, :1]
        if attn_mask is not None:
            attn_mask = attn_mask.to(x.dtype)
            attn_mask = attn_mask.view(b, self.heads, n, n) if attn_mask.ndim == 3 else attn_mask
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=attn_mask)
        x = x + self.scale1(self.out(mixed.transpose(1, 2).reshape(b, -1, width)))
        out: Tensor = x + self.scale2(self.fc2(self.activation(self.fc1(self.norm2(x)))))
        return out


def make_fast(network: nn.Module) -> None:
    """Replace the blocks of a CLIP, CustomTextCLIP or CoCa of open_clip, in place, that can be replaced.

    Their weights are taken over and may change with the activation: what is to be known of them (their
    fingerprint) is to be found out before.
    """
    from open_clip.transformer import ResidualAttentionBlock, Transformer, VisionTransformer

    for tower in network.modules():
        if isinstance(tower, Transformer) and tower.batch_first:
            for i, block in enumerate(tower.resblocks):
                if type(block) is ResidualAttentionBlock and not hasattr(block, "ln_1_kv"):
                    tower.resblocks[i] = ClipBlock(block)
    for tower in network.modules():
        if isinstance(tower, VisionTransformer):
            last = tower.transformer.resblocks[-1]
            if isinstance(last, ClipBlock):
                pooled = tower.attn_pool is not None or tower.pool_type != "tok" or tower.output_tokens
                last.first_token_only = not pooled


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """A linear layer of these parameters, which are not copied. In int8 attention would lose too much."""
    with torch.device("meta"):
        linear = NonDynamicallyQuantizableLinear(weight.shape[1], weight.shape[0], bias=bias is not None)
    linear.weight = nn.Parameter(weight)
    if bias is not None:
        linear.bias = nn.Parameter(bias)
    return linear

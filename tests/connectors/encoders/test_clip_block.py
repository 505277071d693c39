"""Made fast, every kind of model that open_clip builds gives the vectors it gave before."""

import pytest
import torch

from connectors.encoders.clip_block import ClipBlock, make_fast

VISION = {"image_size": 32, "layers": 2, "width": 64, "head_width": 16, "patch_size": 8}
TEXT = {"context_length": 20, "vocab_size": 500, "width": 64, "heads": 4, "layers": 2}
PLAIN = {"embed_dim": 32, "vision_cfg": VISION, "text_cfg": TEXT}
POOLED = {**VISION, "attentional_pool": True, "attn_pooler_heads": 4}

KINDS = {
    "gelu": ("CLIP", PLAIN),
    "quickgelu": ("CLIP", {**PLAIN, "quick_gelu": True}),
    "layer scale": ("CLIP", {**PLAIN, "vision_cfg": {**VISION, "ls_init_value": 0.3}}),
    "mean of patches": ("CLIP", {**PLAIN, "vision_cfg": {**VISION, "pool_type": "avg"}}),
    "attention pool": ("CLIP", {**PLAIN, "vision_cfg": POOLED}),
    "norm after pool": ("CLIP", {**PLAIN, "vision_cfg": {**VISION, "final_ln_after_pool": True}}),
    "no causal mask": (
        "CustomTextCLIP",
        {**PLAIN, "text_cfg": {**TEXT, "no_causal_mask": True, "pool_type": "last"}},
    ),
    "own blocks": ("CLIP", {**PLAIN, "vision_cfg": {**VISION, "qk_norm": True}}),
    "coca": (
        "CoCa",
        {
            "embed_dim": 32,
            "vision_cfg": {**POOLED, "output_tokens": True},
            "text_cfg": {**TEXT, "embed_cls": True, "output_tokens": True},
            "multimodal_cfg": {**TEXT, "layers": 1},
        },
    ),
}
"""The published kinds of model, small: class and configuration."""


@pytest.mark.parametrize("kind", KINDS)
def test_the_vectors_stay(open_clip, randomised, kind):
    torch.manual_seed(0)
    name, config = KINDS[kind]
    network = randomised(getattr(open_clip, name)(**config))
    pixels = torch.randn(3, 3, 32, 32)
    tokens = torch.randint(1, 499, (3, 20))
    tokens[0, 4:] = 0
    with torch.inference_mode():
        before = [network.encode_image(pixels), network.encode_text(tokens)]
        make_fast(network)
        after = [network.encode_image(pixels), network.encode_text(tokens)]
    for found, wanted in zip(after, before, strict=True):
        assert torch.allclose(found, wanted, atol=1e-5, rtol=1e-5)
    fast = sum(isinstance(part, ClipBlock) for part in network.modules())
    assert fast == {"own blocks": 2, "coca": 5}.get(kind, 4)


def test_only_what_is_read_of_the_last_block_is_computed(open_clip, randomised):
    network = randomised(open_clip.CLIP(**PLAIN))
    make_fast(network)
    with torch.inference_mode():
        assert network.visual.transformer(torch.randn(2, 17, 64)).shape == (2, 1, 64)
        assert network.transformer(torch.randn(2, 20, 64)).shape == (2, 20, 64)

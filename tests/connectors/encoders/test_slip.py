"""SLIP's towers, in ULIP's checkpoint or in its own, are timm's ViT and CLIP's text transformer."""

import argparse

import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from connectors.encoders.pointbert import CONFIGS, PointTransformer, load


@pytest.mark.slow
def test_images_and_texts_have_the_vectors_of_slips_own_parts(open_clip, randomised, tmp_path):
    import timm
    from torchvision import transforms

    torch.manual_seed(0)
    vision = timm.create_model("vit_base_patch16_224", num_classes=0).eval()
    text = open_clip.CLIP(
        512,
        {"image_size": 32, "layers": 1, "width": 64, "patch_size": 32},
        {"context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 12},
        quick_gelu=True,
    ).eval()
    slip = {f"visual.{k}": v for k, v in vision.state_dict().items()}
    slip |= {k: v for k, v in text.state_dict().items() if not k.startswith("visual.")}
    slip["image_projection"] = torch.randn(768, 512) * 768**-0.5
    ulip = {f"point_encoder.{k}": v for k, v in PointTransformer(CONFIGS["pointbert"]).state_dict().items()}
    ulip["pc_projection"] = torch.randn(768, 512)

    def save(tensors, name):
        content = {f"module.{k}": v for k, v in tensors.items()}
        torch.save({"state_dict": content, "args": argparse.Namespace(model="x")}, tmp_path / name)

    save(ulip | slip, "with_towers.pt")
    save(ulip, "points_alone.pt")
    save(slip, "slip_base_100ep.pt")

    picture = Image.linear_gradient("L").convert("RGB").resize((300, 240))
    published = transforms.Compose(
        [
            transforms.Resize(224),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    with torch.inference_mode():
        image = F.normalize(vision(published(picture)[None]) @ slip["image_projection"], dim=-1)
        words = F.normalize(text.encode_text(open_clip.tokenize(["a chair"])), dim=-1)
    for file, option in (
        ("with_towers.pt", {}),
        ("points_alone.pt", {"slip": tmp_path / "slip_base_100ep.pt"}),
    ):
        encoder = load("pointbert", tmp_path / file, towers=["point_cloud", "image", "text"], **option)
        assert torch.allclose(encoder.encode([picture], "image"), image, atol=1e-4)
        assert torch.allclose(encoder.encode(["a chair"], "text"), words, atol=1e-4)
    assert load("pointbert", tmp_path / "with_towers.pt").modalities == ("point_cloud",)

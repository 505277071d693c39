"""PointBERT reads ULIP-2's checkpoints and computes what ULIP's code does, for any cloud."""

import argparse

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from connectors.encoders.point_groups import group_points
from connectors.encoders.pointbert import CONFIGS, PointTransformer, load, sample_cloud
from connectors.errors import CheckpointError, ConfigError, InvalidMedia, MissingFiles
from connectors.registry import load_encoder


def cloud(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(3, (1, 2, 3), (n, 3)).astype(np.float32)


def normalised(points: np.ndarray) -> np.ndarray:
    points = points - points.mean(axis=0)
    return (points / np.linalg.norm(points, axis=1).max()).astype(np.float32)


def published(model: str, randomised) -> dict[str, torch.Tensor]:
    """Random weights under the keys of a ULIP-2 checkpoint, SLIP's scale and towers' parts among them."""
    config = CONFIGS[model]
    network = randomised(PointTransformer(config))
    tensors = {f"point_encoder.{k}": v for k, v in network.state_dict().items()}
    tensors["pc_projection"] = torch.randn(768, config.dim) * 0.05
    tensors["logit_scale"] = torch.tensor(4.6)
    tensors["text_projection"] = torch.zeros(512, 512)
    return tensors


def save(tensors: dict[str, torch.Tensor], path) -> None:
    content = {f"module.{k}": v for k, v in tensors.items()}
    torch.save({"state_dict": content, "epoch": 250, "args": argparse.Namespace(npoints=8192)}, path)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, randomised):
    path = tmp_path_factory.mktemp("ulip") / "pointbert_ULIP-2.pt"
    tensors = published("pointbert", randomised)
    save(tensors, path)
    return tensors, path


@pytest.fixture(scope="module")
def encoder(checkpoint):
    return load_encoder("ulip/pointbert", checkpoint[1])


def by_definition(tensors: dict[str, torch.Tensor], points: torch.Tensor, depth: int, heads: int = 6):
    """ULIP's forward pass, written out step by step from its keys: points [n, c] -> [dim]."""
    w = {k.removeprefix("point_encoder."): v for k, v in tensors.items()}

    def conv_stage(x, name):
        x = F.conv1d(x, w[f"{name}.0.weight"], w[f"{name}.0.bias"])
        mean, var = w[f"{name}.1.running_mean"], w[f"{name}.1.running_var"]
        x = F.batch_norm(x, mean, var, w[f"{name}.1.weight"], w[f"{name}.1.bias"])
        return F.conv1d(F.relu(x), w[f"{name}.3.weight"], w[f"{name}.3.bias"])

    def linear(x, name):
        return F.linear(x, w[f"{name}.weight"], w.get(f"{name}.bias"))

    def norm(x, name):
        return F.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"])

    groups, centres = group_points(points[None], 512, 32)
    x = conv_stage(groups[0].transpose(1, 2), "encoder.first_conv")
    x = torch.cat([x.max(2, keepdim=True)[0].expand_as(x), x], dim=1)
    tokens = linear(conv_stage(x, "encoder.second_conv").max(2)[0], "reduce_dim")
    x = torch.cat([w["cls_token"][0], tokens])
    pos = torch.cat([w["cls_pos"][0], linear(F.gelu(linear(centres[0], "pos_embed.0")), "pos_embed.2")])
    for i in range(depth):
        block = f"blocks.blocks.{i}"
        x = x + pos
        qkv = linear(norm(x, f"{block}.norm1"), f"{block}.attn.qkv").view(513, 3, heads, -1)
        q, k, v = qkv.permute(1, 2, 0, 3)
        mixed = ((q @ k.transpose(1, 2)) * q.shape[-1] ** -0.5).softmax(-1) @ v
        x = x + linear(mixed.transpose(0, 1).reshape(513, -1), f"{block}.attn.proj")
        hidden = F.gelu(linear(norm(x, f"{block}.norm2"), f"{block}.mlp.fc1"))
        x = x + linear(hidden, f"{block}.mlp.fc2")
    x = norm(x, "norm")
    return torch.cat([x[0], x[1:].max(0)[0]]) @ tensors["pc_projection"]


def test_a_normalised_cloud_has_the_vector_of_ulips_forward_pass(checkpoint, encoder):
    points = normalised(cloud(8192))
    with torch.inference_mode():
        wanted = F.normalize(by_definition(checkpoint[0], torch.from_numpy(points), depth=12), dim=0)
    assert torch.allclose(encoder.encode([points])[0], wanted, atol=1e-5)


def test_the_coloured_model_is_one_by_configuration(tmp_path, randomised):
    tensors = published("pointbert-colored", randomised)
    save(tensors, tmp_path / "c.pt")
    encoder = load("pointbert-colored", tmp_path / "c.pt")
    points = normalised(cloud(10_000))
    colour = np.random.default_rng(1).random((10_000, 3)).astype(np.float32)
    coloured = np.concatenate([points, colour], axis=1)
    with torch.inference_mode():
        wanted = F.normalize(by_definition(tensors, torch.from_numpy(coloured), depth=18), dim=0)
    found = encoder.encode([coloured, points])
    assert encoder.dim == 1280
    assert torch.allclose(found[0], wanted, atol=1e-5)
    assert torch.isfinite(found[1]).all()
    grey = encoder.prepare(points).rows[0, :, 3:]
    assert torch.equal(grey, torch.full_like(grey, 0.4))


def test_a_vector_does_not_depend_on_its_batch(encoder):
    several = [cloud(n, seed=n) for n in (32, 500, 8192, 20_000)]
    together = encoder.encode(several)
    alone = torch.cat([encoder.encode([points]) for points in several])
    assert torch.allclose(together, alone, atol=1e-5)
    assert torch.isfinite(together).all()


class TestSampling:
    def test_a_centred_and_scaled_cloud_passes_unchanged_and_in_order(self):
        points = normalised(cloud(8192))
        assert np.array_equal(sample_cloud(points, 8192, 32), points)

    def test_position_and_scale_do_not_matter(self):
        points = normalised(cloud(8192))
        moved = points.astype(np.float64) * 40 + (500, -3000, 20)
        assert np.allclose(sample_cloud(moved.astype(np.float32), 8192, 32), points, atol=1e-4)

    def test_large_clouds_are_thinned_the_same_way_each_time(self):
        points = cloud(50_000)
        found = sample_cloud(points, 8192, 32)
        assert np.array_equal(found, sample_cloud(points, 8192, 32))
        assert len(np.unique(found, axis=0)) == 8192
        assert np.allclose(found.mean(axis=0), 0, atol=1e-5)
        assert np.linalg.norm(found, axis=1).max() == pytest.approx(1, abs=1e-5)

    def test_small_clouds_are_repeated_in_turn(self):
        found = sample_cloud(cloud(100), 8192, 32)
        assert np.array_equal(found[:100], found[100:200])
        assert len(np.unique(found, axis=0)) == 100

    @pytest.mark.parametrize(
        ("points", "why"),
        [
            (cloud(31), "too small"),
            (np.ones((100, 3), np.float32), "no extent"),
            (np.full((100, 3), np.nan, np.float32), "not finite"),
            (np.zeros((100, 2), np.float32), r"\[n, 3\]"),
        ],
        ids=["few", "one place", "nan", "flat"],
    )
    def test_unusable_clouds_are_refused(self, encoder, points, why):
        with pytest.raises(InvalidMedia, match=why):
            encoder.encode([points])


class TestUnusableWeights:
    def test_absent_weights_say_what_to_download_and_where_to_put_it(self, tmp_path):
        with pytest.raises(MissingFiles) as error:
            load("pointbert", tmp_path / "pointbert_ULIP-2.pt")
        assert str(tmp_path / "pointbert_ULIP-2.pt") in error.value.message
        assert "https://storage.cloud.google.com/sfr-ulip-code-release-research/" in error.value.message

    def test_the_coloured_checkpoint_is_refused_for_the_plain_model(self, tmp_path, randomised):
        save(published("pointbert-colored", randomised), tmp_path / "c.pt")
        with pytest.raises(
            CheckpointError, match=r"first_conv.0.weight \[128, 6, 1\] instead of \[128, 3, 1\]"
        ):
            load("pointbert", tmp_path / "c.pt")

    def test_other_checkpoints_are_refused(self, tmp_path):
        torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "c.pt")
        with pytest.raises(CheckpointError, match="point_encoder"):
            load("pointbert", tmp_path / "c.pt")

    def test_unknown_models_are_named(self):
        with pytest.raises(ConfigError, match="pointbert-colored"):
            load("pointnext", None)

    def test_towers_that_the_checkpoint_lacks_say_where_they_are(self, checkpoint):
        with pytest.raises(CheckpointError, match=r"slip=PATH.*slip_base_100ep.pt"):
            load("pointbert", checkpoint[1], towers=["point_cloud", "image"])

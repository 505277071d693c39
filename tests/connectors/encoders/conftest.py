"""What the tests of the full-size encoders share: small open_clip models, and laion_clap's own code."""

import importlib.util
import json
import sys
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

from connectors.torchvision_operators import declare_missing_operators

SMALL = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 64, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
}


@pytest.fixture(scope="session")
def open_clip(tmp_path_factory):
    """open_clip, with the small models `small` (GELU) and `small-quickgelu` registered."""
    declare_missing_operators()
    import open_clip

    folder = tmp_path_factory.mktemp("models")
    (folder / "small.json").write_text(json.dumps(SMALL))
    (folder / "small-quickgelu.json").write_text(json.dumps({**SMALL, "quick_gelu": True}))
    open_clip.add_model_config(folder)
    return open_clip


def randomise(module: nn.Module, seed: int = 0) -> nn.Module:
    """Give a module weights and statistics none of which is at its neutral value."""
    generator = torch.Generator().manual_seed(seed)
    for key, value in module.state_dict().items():
        if value.is_floating_point() and value.ndim > 1:
            spread = value[0].numel() ** -0.5
            value.copy_(torch.randn(value.shape, generator=generator) * spread)
        elif key.endswith(("bias", "running_mean")):
            value.copy_(torch.randn(value.shape, generator=generator) * 0.1)
        elif value.is_floating_point():
            value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
    return module.eval()


@pytest.fixture(scope="session")
def randomised():
    return randomise


@pytest.fixture(scope="session")
def clap_module():
    """laion_clap's `clap_module`, imported without laion_clap's own start, which calls a hub."""
    declare_missing_operators()
    origin = importlib.util.find_spec("laion_clap").origin
    sys.path.append(str(Path(origin).parent))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import clap_module
        import clap_module.factory
        import clap_module.htsat
    sys.path.pop()
    return clap_module


@pytest.fixture(scope="session")
def upstream_clap(clap_module):
    """A function that builds laion_clap's own audio tower and projection with random weights."""

    def build(name: str, fusion: bool) -> tuple[nn.Module, nn.Module]:
        configs = Path(clap_module.__file__).parent / "model_configs"
        config = json.loads((configs / f"{name}.json").read_text())
        audio = clap_module.CLAPAudioCfp(**config["audio_cfg"])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tower = clap_module.htsat.create_htsat_model(audio, fusion, "aff_2d" if fusion else "None")
        fixed = {
            key: value.clone()
            for key, value in tower.state_dict().items()
            if key.startswith(("spectrogram_extractor.", "logmel_extractor.")) or "attn_mask" in key
        }
        randomise(tower)
        tower.load_state_dict(fixed, strict=False)
        tower.bn0.running_mean.fill_(-30)
        tower.bn0.running_var.fill_(200)
        width = config["embed_dim"]
        projection = nn.Sequential(nn.Linear(width, 512), nn.ReLU(), nn.Linear(512, 512))
        return tower, randomise(projection)

    return build

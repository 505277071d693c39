"""The full bundle's encoders take little more memory than their weights, while loading and after."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from connectors.encoders.pointbert import CONFIGS, PointTransformer

MEASURE = """
import json, sys
from pathlib import Path
from connectors import load_encoder
from connectors.encoders import laion_clap, open_clip, pointbert
from connectors.torchvision_operators import declare_missing_operators

declare_missing_operators()
import open_clip  # its import is not the weights' memory

def kilobytes(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))

before = kilobytes("VmRSS")
loaded = [load_encoder(name, path) for name, path in json.loads(sys.argv[1]).items()]
print(json.dumps([(kilobytes(field) - before) * 1024 for field in ("VmHWM", "VmRSS")]))
"""


@pytest.mark.slow
def test_full_loads_in_less_than_1_3_times_its_weights(open_clip, upstream_clap, tmp_path: Path) -> None:
    clip = open_clip.create_model("ViT-B-32-quickgelu").state_dict()
    save_file({key: value.contiguous() for key, value in clip.items()}, tmp_path / "clip.safetensors")
    tower, projection = upstream_clap("HTSAT-tiny", True)
    parts = nn.ModuleDict({"audio_branch": tower, "audio_projection": projection})
    clap = {f"module.{key}": value for key, value in parts.state_dict().items()}
    torch.save({"state_dict": clap}, tmp_path / "clap.pt")
    points = PointTransformer(CONFIGS["pointbert"]).state_dict()
    ulip = {f"module.point_encoder.{key}": value for key, value in points.items()}
    torch.save({"state_dict": {**ulip, "module.pc_projection": torch.randn(768, 512)}}, tmp_path / "ulip.pt")
    files = {
        "open_clip/ViT-B-32-quickgelu": tmp_path / "clip.safetensors",
        "laion_clap/HTSAT-tiny": tmp_path / "clap.pt",
        "ulip/pointbert": tmp_path / "ulip.pt",
    }
    weights = sum(path.stat().st_size for path in files.values())

    paths = json.dumps({name: str(path) for name, path in files.items()})
    run = subprocess.run([sys.executable, "-c", MEASURE, paths], capture_output=True, text=True, check=True)
    peak, settled = json.loads(run.stdout.splitlines()[-1])

    assert settled < 1.3 * weights
    assert peak < 1.3 * weights

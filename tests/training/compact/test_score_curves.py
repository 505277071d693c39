import json
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from connectors.calibration import Calibration
from training.compact.held_out import View
from training.compact.score_curves import PRIOR, fit_curve, pair_cosines, write_curves


def test_a_curve_gives_the_probability_of_a_match() -> None:
    torch.manual_seed(0)
    match, other = 0.6 + 0.1 * torch.randn(4000), 0.2 + 0.1 * torch.randn(9000)
    slope, bias = fit_curve(match, other)
    cosine = torch.tensor([0.2, 0.4, 0.6])
    odds = PRIOR / (1 - PRIOR) * torch.exp(-((cosine - 0.6) ** 2 - (cosine - 0.2) ** 2) / (2 * 0.01))
    assert torch.allclose(torch.sigmoid(slope * cosine + bias), odds / (1 + odds), atol=0.05)


def test_a_curve_of_separable_cosines_stays_finite() -> None:
    slope, bias = fit_curve(torch.full((50,), 0.9), torch.full((50,), 0.1))
    assert 0 < slope < 1e4 and abs(bias) < 1e4


def test_an_item_is_not_its_own_match() -> None:
    view = View(torch.eye(3), ("a", "a", "b"), ("x", "y", "z"))
    match, other = pair_cosines(view, view, same=True)
    assert len(match) == 2 and len(other) == 4 and float(match.max()) == 0.0


def test_the_file_is_what_the_bundle_reads(tmp_path: Path) -> None:
    torch.manual_seed(0)
    concepts = tuple("abcd"[k % 4] for k in range(40))
    centre = torch.randn(4, 16)[[k % 4 for k in range(40)]]
    views = {
        kind: View(F.normalize(centre + 0.8 * torch.randn(40, 16), dim=1), concepts, concepts)
        for kind in ("audio", "image")
    }
    write_curves(views, tmp_path / "calibration.json")
    assert set(json.loads((tmp_path / "calibration.json").read_text())["pairs"]) == {
        "audio->audio", "audio->image", "image->audio", "image->image",
    }  # fmt: skip
    scores = Calibration.load(tmp_path / "calibration.json").score(
        "audio", "image", np.array([-0.5, 0.0, 0.9])
    )
    assert scores[0] < scores[1] < 0.5 < scores[2]

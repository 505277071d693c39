"""Calibrated scores keep each pair's order and make pairs comparable."""

from pathlib import Path

import pytest
import torch

from connectors.calibration import Calibration, PairCurve
from connectors.errors import ConfigError, MissingFiles

SOUND_TO_IMAGE = PairCurve(slope=30, bias=-6)
SOUND_TO_SOUND = PairCurve(slope=10, bias=-7)
CALIBRATION = Calibration(pairs={"audio->image": SOUND_TO_IMAGE, "audio->audio": SOUND_TO_SOUND})


def test_scores_rise_with_the_cosine_and_stay_in_0_to_1() -> None:
    scores = CALIBRATION.score("audio", "image", torch.linspace(-1, 1, 21))
    assert (scores.diff() >= 0).all()
    assert scores.min() >= 0
    assert scores.max() <= 1


def test_a_low_cosine_across_modalities_can_outrank_a_higher_one_within() -> None:
    picture = CALIBRATION.score("audio", "image", torch.tensor(0.3))
    other_sound = CALIBRATION.score("audio", "audio", torch.tensor(0.5))
    assert picture > other_sound


def test_without_a_calibration_the_order_of_cosines_stays() -> None:
    cosines = torch.tensor([0.1, 0.9, 0.5])
    scores = Calibration.none().score("text", "image", cosines)
    assert torch.equal(scores.argsort(), cosines.argsort())


def test_it_is_read_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    path.write_text(CALIBRATION.model_dump_json())
    assert Calibration.load(path) == CALIBRATION


def test_a_file_that_is_missing_or_wrong_is_named(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    with pytest.raises(MissingFiles, match=r"calibration\.json"):
        Calibration.load(path)
    path.write_text('{"pairs": {"audio->image": {"slope": -1, "bias": 0}}}')
    with pytest.raises(ConfigError, match="slope"):
        Calibration.load(path)

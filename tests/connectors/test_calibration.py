"""Calibrated scores keep each pair's order and make pairs comparable."""

from pathlib import Path

import numpy as np
import pytest

from connectors.calibration import Calibration, PairCurve
from connectors.errors import ConfigError, MissingFiles

SOUND_TO_IMAGE = PairCurve(slope=30, bias=-6)
SOUND_TO_SOUND = PairCurve(slope=10, bias=-7)
CALIBRATION = Calibration(pairs={"audio->image": SOUND_TO_IMAGE, "audio->audio": SOUND_TO_SOUND})


def test_scores_rise_with_the_cosine_and_stay_in_0_to_1() -> None:
    scores = CALIBRATION.score("audio", "image", np.linspace(-1, 1, 21))
    assert (np.diff(scores) >= 0).all()
    assert scores.min() >= 0
    assert scores.max() <= 1


def test_a_low_cosine_across_modalities_can_outrank_a_higher_one_within() -> None:
    picture = CALIBRATION.score("audio", "image", np.array(0.3))
    other_sound = CALIBRATION.score("audio", "audio", np.array(0.5))
    assert picture > other_sound


def test_without_a_calibration_the_order_of_cosines_stays() -> None:
    cosines = np.array([0.1, 0.9, 0.5])
    scores = Calibration.none().score("text", "image", cosines)
    assert np.array_equal(scores.argsort(), cosines.argsort())


def test_equal_cosines_score_alike_wherever_they_stand() -> None:
    for cosine in np.random.default_rng(0).uniform(-1, 1, 300):
        scores = [CALIBRATION.score("audio", "image", np.full(n, cosine)) for n in (1, 3, 7, 64)]
        assert len(np.unique(np.concatenate(scores))) == 1


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

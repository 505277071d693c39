"""The report is one file that needs no other, and tells what was measured."""

import re
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from training.evaluation import measure
from training.report import Report, write_report
from training.views import View

WORDS = ["dog", "cat", "rain", "<b>bell</b>"]


def views(noise: float) -> list[View]:
    """A leaf that is the base plus noise, once connected; forty things of four classes."""
    rng = torch.Generator().manual_seed(0)

    def normal(width: int) -> Tensor:
        return F.normalize(torch.randn(40, width, generator=rng), dim=1)

    base, leaf = normal(16), normal(12)
    unified = F.normalize(base + noise * normal(16), dim=1)
    ids, labels = [str(i) for i in range(40)], [WORDS[i % 4] for i in range(40)]
    return [
        View("clip/image", "clip", base, base, ids, labels),
        View("clap/audio", "clap", leaf, unified, ids, labels),
    ]


def report(**changes: object) -> Report:
    systems = {"connector": views(0.1), "ridge": views(2.0)}
    given: dict[str, object] = {
        "title": "exmcr-0123",
        "subtitle": "clap connected to clip",
        "recipe": {"method": "exmcr", "base": "clip", "leaf": "clap", "optim": {"seed": 7, "epochs": 3}},
        "histories": [[{"loss": 3.0 / (step + 1), "inter": 2.0 / (step + 1)} for step in range(30)]],
        "measurements": {name: measure("evaluation", v, resamples=20) for name, v in systems.items()},
        "scores": {"connector": 0.9, "ridge": 0.5},
        "seconds": {"training": 4000.0, "evaluation": 2.0},
        "machine": {"processor": "x86_64", "accelerator": None},
        "views": systems["connector"],
        **changes,
    }
    return Report(**given)  # type: ignore[arg-type]


def test_the_page_needs_nothing_outside_itself(tmp_path: Path) -> None:
    page = write_report(report(), tmp_path).read_text()
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    assert "http" not in page
    assert page.count("data:image/png;base64,") == 3
    pictures = sorted(path.name for path in (tmp_path / "figures").iterdir())
    assert pictures == ["losses.png", "similarity-clip-image-clap-audio.png", "space.png"]
    for name in pictures:
        with Image.open(tmp_path / "figures" / name) as picture:
            assert picture.width > 500
            assert len(picture.convert("RGB").resize((64, 64)).getcolors(5000) or []) > 20


def test_it_tells_verdict_figures_chance_recipe_seed_and_machine(tmp_path: Path) -> None:
    page = write_report(report(), tmp_path).read_text()
    for told in (
        "Beats the best closed form, ridge: mAP 90.0% against 50.0%",
        "clip/image → clap/audio",
        "chance 2.5",
        "1 h 07 min",
        "seed = 7",
        "x86_64",
        "40 queries × 40 targets",
    ):
        assert told in page
    assert "None" not in page


def test_a_connector_that_loses_is_said_to_lose(tmp_path: Path) -> None:
    page = write_report(report(scores={"connector": 0.2, "ridge": 0.5}), tmp_path).read_text()
    assert "Loses to the best closed form, ridge" in page
    assert "verdict bad" in page


def test_text_from_the_data_is_not_markup(tmp_path: Path) -> None:
    page = write_report(report(title="<script>alert(1)</script>"), tmp_path).read_text()
    assert "<script>" not in page


def test_a_run_without_evaluation_still_has_a_page(tmp_path: Path) -> None:
    bare = report(measurements={}, scores={}, views=[], histories=[])
    page = write_report(bare, tmp_path).read_text()
    assert "exmcr-0123" in page
    assert 'class="verdict' not in page


@pytest.mark.parametrize("projectors", [1, 4])
def test_an_ensemble_has_a_panel_of_losses_each(tmp_path: Path, projectors: int) -> None:
    history = [[{"loss": 1.0 / (step + 1)} for step in range(9)]] * projectors
    write_report(report(histories=history), tmp_path)
    with Image.open(tmp_path / "figures" / "losses.png") as picture:
        assert (picture.height > 900) == (projectors > 3)

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from connectors.encoders.compact.conv_layers import InvertedResidual
from training.compact.stage_fitting import GRID, StagePlan, crop, fit_stage, write_maps
from training.compact.teacher_stages import Activation, TeacherLayer, TeacherStage


def layer(
    dim_in: int, dim_out: int, size: int = 1, stride: int = 1, after: Activation | None = F.relu6
) -> TeacherLayer:
    depthwise = size == 3
    weight = torch.randn(dim_out, 1 if depthwise else dim_in, size, size)
    weight *= 2 / weight[0].numel() ** 0.5
    return TeacherLayer(weight, 0.3 * torch.randn(dim_out), stride, depthwise, after)


def block(dim_in: int, dim_out: int, stride: int = 1) -> TeacherStage:
    made = TeacherStage([layer(dim_in, 16), layer(16, 16, 3, stride), layer(16, dim_out, after=None)])
    made.adds = stride == 1 and dim_in == dim_out
    return made


@pytest.fixture
def stages() -> list[TeacherStage]:
    """A teacher: pixels to a quarter of the side, and two blocks."""
    torch.manual_seed(0)
    opening = TeacherStage([layer(3, 8), layer(8, 8, 3, 2), layer(8, 8, 3, 2)])
    return [opening, block(8, 8), block(8, 6, 2)]


def test_a_layer_pads_as_tensorflow_does(stages: list[TeacherStage]) -> None:
    striding = stages[0].layers[1]
    for side in (8, 7):
        assert striding(torch.randn(1, 8, side, side)).shape == (1, 8, 4, 4)
    x = torch.zeros(1, 8, 8, 8)
    x[:, :, 0, 0] = 1
    with torch.no_grad():
        expected = (striding.weight[:, 0, 0, 0] + striding.bias).clamp(0, 6)
        assert torch.allclose(striding(x)[0, :, 0, 0], expected, atol=1e-6)


def test_a_students_stage_learns_to_answer_as_the_teachers_and_the_same_each_time(
    stages: list[TeacherStage], tmp_path: Path
) -> None:
    patches = np.random.default_rng(0).integers(0, 255, (64, 16, 16, 3), dtype=np.uint8)
    pictures = patches.repeat(4, axis=1).repeat(4, axis=2)
    write_maps(stages, pictures, tmp_path, seed=0)
    maps = np.load(tmp_path / "maps-1.npy")
    assert maps.shape == (64, GRID, GRID, 8)

    def taught(steps: int) -> tuple[float, InvertedResidual]:
        torch.manual_seed(1)
        student = InvertedResidual(8, 24, 8, 1)
        return fit_stage(student, stages[1], maps, StagePlan(steps), lambda _: None), student

    (error, student), (again, twin), (early, _) = taught(200), taught(200), taught(5)
    assert error < 0.3 < 0.9 < early
    assert error == again
    assert all(torch.equal(a, b) for a, b in zip(student.parameters(), twin.parameters(), strict=True))


def test_each_stage_is_given_what_those_before_it_make(stages: list[TeacherStage], tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).integers(0, 255, (5, 32, 32, 3), dtype=np.uint8)
    write_maps(stages, pictures, tmp_path, seed=0, batch=2)
    maps = [np.load(tmp_path / f"maps-{k}.npy") for k in range(3)]
    assert [each.shape for each in maps] == [(5, 32, 32, 3), (5, 8, 8, 8), (5, 8, 8, 8)]
    assert np.allclose(maps[0], pictures / 127.5 - 1, atol=2e-3)
    with torch.no_grad():
        given = torch.from_numpy(maps[1]).float().permute(0, 3, 1, 2)
        made = stages[1](given).permute(0, 2, 3, 1).numpy()
    assert np.abs(made - maps[2]).max() < 0.15, "but for what bfloat16 rounds"


def test_a_rectified_stage_is_matched_before_its_relu() -> None:
    torch.manual_seed(0)
    stage = TeacherStage([layer(4, 4, 3, after=torch.relu), layer(4, 6, after=None)], rectified=True)
    x = torch.randn(2, 4, 8, 8)
    with torch.no_grad():
        inner = stage.inner(x)
        assert (inner < 0).any() and torch.equal(stage(x), inner.clamp_min(0))


def test_pieces_come_from_anywhere_in_a_map() -> None:
    rng = np.random.default_rng(0)
    x = torch.arange(100.0).reshape(1, 1, 10, 10)
    corners = {float(crop(x, 4, rng)[0, 0, 0, 0]) for _ in range(300)}
    assert len(corners) == 49 and max(corners) == 66
    assert torch.equal(crop(x, 12, rng), x)

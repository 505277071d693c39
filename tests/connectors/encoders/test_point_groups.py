"""Groups of a point cloud are those of the textbook loops, for any batch and from a fixed start."""

import pytest
import torch

from connectors.encoders.point_groups import (
    farthest_points,
    farthest_points_batched,
    group_points,
    nearest_points,
)


def clouds(b: int, n: int, channels: int = 3) -> torch.Tensor:
    return torch.randn(b, n, channels, generator=torch.Generator().manual_seed(n))


def farthest_by_definition(cloud: torch.Tensor, count: int) -> list[int]:
    chosen = [0]
    while len(chosen) < count:
        distances = torch.cdist(cloud, cloud[chosen], compute_mode="donot_use_mm_for_euclid_dist")
        chosen.append(int(distances.amin(1).argmax()))
    return chosen


def test_each_point_is_the_farthest_from_those_before_it():
    points = clouds(2, 300)
    found = farthest_points(points, 40)
    for cloud, indices in zip(points, found, strict=True):
        assert indices.tolist() == farthest_by_definition(cloud, 40)


def test_the_form_for_accelerators_finds_the_same_points():
    points = clouds(3, 500)
    assert torch.equal(farthest_points_batched(points, 64), farthest_points(points, 64))


@pytest.mark.parametrize("n", [32, 100, 512, 8192, 10_000])
def test_neighbours_are_the_nearest_points(n):
    points, centres = clouds(2, n), clouds(2, 20)
    found = nearest_points(points, centres, 32)
    assert (found.sort(-1).values.diff(dim=-1) > 0).all(), "no point is there twice"
    distances = torch.cdist(centres, points, compute_mode="donot_use_mm_for_euclid_dist")
    wanted = distances.topk(32, largest=False).values
    torch.testing.assert_close(distances.gather(2, found).sort(-1).values, wanted, atol=1e-4, rtol=0)


def test_groups_are_relative_to_their_centre_and_keep_their_colour():
    points = clouds(1, 200, channels=6)
    groups, centres = group_points(points, 10, 8)
    assert groups.shape == (1, 10, 8, 6)
    assert torch.equal(centres[0], points[0, farthest_points(points[..., :3], 10)[0], :3])
    absolute = groups[0, 3].clone()
    absolute[:, :3] += centres[0, 3]
    offsets = absolute[:, None] - points[0]
    assert offsets.abs().amax(-1).amin(-1).max() < 1e-6


def test_more_groups_than_distinct_points_are_still_groups():
    points = clouds(1, 40).repeat(1, 5, 1)
    chosen = farthest_points(points, 64)
    assert len(set((chosen[0] % 40).tolist())) == 40
    assert torch.isfinite(group_points(points, 64, 32)[0]).all()

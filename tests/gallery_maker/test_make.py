import io

import numpy as np
import pytest
import soundfile

from gallery_maker import make
from gallery_maker.picture import render
from gallery_maker.shape import FORMATS, sample, write
from gallery_maker.solid import Figure, Part, colour, distance, mesh
from service.gallery.items import gallery_items

KEPT = {item.id: item for item in gallery_items()}
BALL = Figure((Part("ball", (0.0, 1.0, 0.0), (1.0, 1.0, 1.0), "#ff0000"),))


def test_a_sound_is_made_again_as_it_was():
    made, _ = soundfile.read(io.BytesIO(make.sound("door")[1]))
    kept, _ = soundfile.read(io.BytesIO(KEPT["audio/door"].data))
    assert np.abs(made - kept).max() < 1e-3


@pytest.mark.parametrize("name", ["bird", "table", "house", "tree"])
def test_a_shape_is_made_again_as_it_was(name):
    assert make.shape(name)[1] == KEPT[f"point_cloud/{name}"].data


def test_what_the_list_names_can_all_be_made():
    assert {f"audio/{name}" for name in make.SOUNDS} == {key for key in KEPT if key.startswith("audio/")}
    pictures = {key.split("/")[1] for key in KEPT if key.startswith(("image/", "point_cloud/"))}
    assert pictures <= set(make.FIGURES)


def test_a_picture_is_traced_from_its_figure():
    pixels = np.asarray(render(BALL, side=24, oversample=1.0)).astype(int)
    middle, corner = pixels[12, 12], pixels[0, 0]
    assert middle[0] > 2 * max(middle[1], middle[2])
    assert abs(corner[0] - corner[1]) < 40


def test_the_distance_to_a_ball_is_the_distance_to_its_surface():
    points = np.array([[0.0, 3.0, 0.0], [0.0, 1.0, 0.5], [2.0, 1.0, 0.0]])
    np.testing.assert_allclose(distance(BALL, points), [1.0, -0.5, 1.0], atol=1e-9)


def test_a_point_has_the_colour_of_the_nearest_part():
    figure = Figure((*BALL.parts, Part("box", (5.0, 1.0, 0.0), (1.0, 1.0, 1.0), "#0000ff")))
    np.testing.assert_allclose(
        colour(figure, np.array([[5.0, 1.0, 1.0], [0.0, 0.0, 0.0]])), [[0, 0, 1], [1, 0, 0]], atol=1e-6
    )


@pytest.mark.parametrize("kind", ["ball", "box", "cone", "ring"])
def test_a_mesh_lies_on_the_surface_its_distance_describes(kind):
    figure = Figure((Part(kind, (0.1, 0.2, 0.3), (0.5, 0.3, 0.2), "#888888", (20.0, 30.0, 40.0)),))
    gaps = distance(figure, np.asarray(mesh(figure).vertices))
    assert np.abs(gaps).max() < 0.02


def test_points_lie_on_the_figure_and_spread_over_it():
    points = sample(BALL, 2000, seed=1).astype(float) - [0.0, 1.0, 0.0]
    assert np.abs(np.linalg.norm(points, axis=1) - 1).max() < 0.03
    assert np.abs(points.mean(axis=0)).max() < 0.06


def test_an_unknown_format_is_refused():
    with pytest.raises(ValueError, match=FORMATS[0]):
        write(BALL, "dwg", seed=0)

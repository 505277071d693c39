"""Faces that are not convex: how much of the sampled surface lies where the polygon is not."""

import io
import time

import numpy as np
import plyfile
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.errors import InvalidMedia, MediaError, MediaTooLarge
from connectors.media import Limits, decode
from connectors.media.polygons import MOST_CUT


def around(count, radii):
    """Corners in a circle, at the radii in turn."""
    angles = np.linspace(0, 2 * np.pi, count, endpoint=False)
    radii = np.resize(radii, count)
    return np.stack((radii * np.cos(angles), radii * np.sin(angles)), axis=1)


POLYGONS = {
    "U": [(0, 0), (3, 0), (3, 3), (2, 3), (2, 1), (1, 1), (1, 3), (0, 3)],
    "L": [(0, 0), (3, 0), (3, 1), (1, 1), (1, 3), (0, 3)],
    "arrow": [(0, 0), (2, 1), (0, 2), (0.5, 1)],
    "arrow from its notch": [(0.5, 1), (0, 0), (2, 1), (0, 2)],
    "pentagon with a notch": [(0, 0), (4, 0), (4, 3), (2, 0.5), (0, 3)],
    "star": around(10, (2, 0.5)),
    "long star": around(400, (2, 1)),
    "collinear": [(0, 0), (1, 0), (2, 0), (3, 0), (3, 1), (2, 1), (1, 1), (1, 2), (1, 3), (0, 3), (0, 1)],
    "clockwise U": [(0, 3), (1, 3), (1, 1), (2, 1), (2, 3), (3, 3), (3, 0), (0, 0)],
    "doubled corners": [(0, 0), (0, 0), (3, 0), (3, 1), (1, 1), (1, 1), (1, 3), (0, 3), (0, 0)],
    "comb": [(x, y) for i in range(9) for x, y in ((2 * i, 0), (2 * i, 5), (2 * i + 1, 5), (2 * i + 1, 0))]
    + [(17, -1), (0, -1)],
    "square": [(0, 0), (1, 0), (1, 1), (0, 1)],
    "circle": around(60, (1,)),
}  # fmt: skip


def turned(corners):
    """The corners in a plane of space that lies along no axis."""
    flat = np.asarray(corners, np.float64)
    basis = np.array([[0.6, 0.64, 0.48], [-0.8, 0.48, 0.36]])
    return flat @ basis + (5, -2, 1)


def obj(vertices, faces):
    rows = [f"v {x} {y} {z}" for x, y, z in vertices] + [
        "f " + " ".join(str(c + 1) for c in face) for face in faces
    ]
    return "\n".join(rows).encode()


def off(vertices, faces):
    rows = ["OFF", f"{len(vertices)} {len(faces)} 0", *(f"{x} {y} {z}" for x, y, z in vertices)]
    return "\n".join(rows + [f"{len(f)} " + " ".join(map(str, f)) for f in faces]).encode()


def ply(text=False, order="<"):
    def write(vertices, faces):
        rows = np.array([tuple(row) for row in vertices], [(axis, "f8") for axis in "xyz"])
        face = np.empty(len(faces), [("vertex_indices", "O")])
        face["vertex_indices"] = [np.array(f, np.int32) for f in faces]
        elements = [plyfile.PlyElement.describe(rows, "vertex")]
        elements.append(
            plyfile.PlyElement.describe(face, "face", len_types={"vertex_indices": "u4"}),
        )
        out = io.BytesIO()
        plyfile.PlyData(elements, text=text, byte_order=order).write(out)
        return out.getvalue()

    return write


WRITERS = {
    "a.obj": obj,
    "a.off": off,
    "a.ply": ply(),
    "text.ply": ply(text=True),
    "big-endian.ply": ply(order=">"),
}


def outside(points, corners):
    """The share of points of the plane that an even-odd rule puts outside, with a rim left for rounding."""
    a = np.asarray(corners, np.float64)
    b = np.roll(a, -1, axis=0)
    crossings = np.zeros(len(points), bool)
    near = np.zeros(len(points), bool)
    for p, q in zip(a, b, strict=True):
        side = q - p
        with np.errstate(all="ignore"):
            x = p[0] + (points[:, 1] - p[1]) * side[0] / side[1]
        crossings ^= ((p[1] > points[:, 1]) != (q[1] > points[:, 1])) & (points[:, 0] < x)
        t = np.clip((points - p) @ side / max(side @ side, 1e-30), 0, 1)
        near |= np.linalg.norm(points - p - t[:, None] * side, axis=1) < 1e-4
    return (~crossings & ~near).mean()


def cloud(data, name, **options):
    return decode("point_cloud", data, name=name, **options)


@pytest.mark.parametrize("shape", POLYGONS)
@pytest.mark.parametrize("name", WRITERS)
def test_no_sample_lies_in_a_notch(name, shape):
    corners = np.asarray(POLYGONS[shape], np.float64)
    flat = np.c_[corners, np.zeros(len(corners))]
    points = cloud(WRITERS[name](flat, [range(len(flat))]), name)
    assert outside(points[:, :2].astype(np.float64), corners) == 0
    # Nothing is missing, and nothing is covered twice: the mean is the polygon's own.
    x, y = corners.T
    cross = x * np.roll(y, -1) - np.roll(x, -1) * y
    middle = [((c + np.roll(c, -1)) * cross).sum() / (3 * cross.sum()) for c in (x, y)]
    assert np.allclose(points[:, :2].mean(axis=0), middle, atol=0.03 * np.ptp(corners))


@pytest.mark.parametrize("name", WRITERS)
def test_faces_of_all_sizes_in_any_plane_are_cut(name):
    vertices, faces, basis = [], [], np.array([[0.6, 0.64, 0.48], [-0.8, 0.48, 0.36]])
    shapes = [np.asarray(POLYGONS[s], np.float64) for s in ("U", "arrow", "square", "star", "L")]
    for number, corners in enumerate(shapes):
        faces.append(range(len(vertices), len(vertices) + len(corners)))
        vertices.extend(turned(np.add(corners, (10 * number, 0))))
    points = cloud(WRITERS[name](vertices, faces), name).astype(np.float64) - (5, -2, 1)
    flat = points @ basis.T
    assert np.allclose(flat @ basis, points, atol=1e-5)
    number = np.floor((flat[:, 0] + 5) / 10).astype(int)
    areas = np.bincount(number, minlength=5) / len(points)
    for index, corners in enumerate(shapes):
        assert outside(flat[number == index], np.add(corners, (10 * index, 0))) == 0
    x, y = zip(*((s[:, 0], s[:, 1]) for s in shapes), strict=True)
    true = np.array(
        [abs(np.dot(a, np.roll(b, -1)) - np.dot(b, np.roll(a, -1))) / 2 for a, b in zip(x, y, strict=True)]
    )
    assert np.allclose(areas, true / true.sum(), atol=0.02)


def test_a_hundred_thousand_corners_take_no_minutes():
    corners = around(100_000, (2, 1))
    data = ply()(np.c_[corners, np.zeros(len(corners))], [range(len(corners))])
    start = time.perf_counter()
    with pytest.raises(MediaTooLarge, match="polygons with notches"):
        cloud(data, "a.ply")
    assert time.perf_counter() - start < 10
    round_one = around(100_000, (1,))
    points = cloud(ply()(np.c_[round_one, np.zeros(len(round_one))], [range(len(round_one))]), "a.ply")
    assert np.allclose(np.linalg.norm(points, axis=1).max(), 1, atol=0.01)


def test_polygons_with_notches_are_counted():
    corners = np.asarray(POLYGONS["U"], np.float64)
    data = ply()(np.c_[corners, np.zeros(8)], [range(8)] * (MOST_CUT + 1))
    with pytest.raises(MediaTooLarge, match="100,001 polygons with notches; the limit is 100,000"):
        cloud(data, "a.ply")


@pytest.mark.parametrize("name", WRITERS)
def test_polygons_without_an_area_are_a_mesh_without_a_surface(name):
    line = [(i, i, i) for i in range(6)]
    with pytest.raises(InvalidMedia, match="mesh without a surface"):
        cloud(WRITERS[name](line, [range(6)]), name)


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("corner", [9, 100])
def test_a_corner_that_is_not_there_is_invalid_in_a_polygon_too(name, corner):
    square = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)]
    with pytest.raises(InvalidMedia, match="corner that is not in the file"):
        cloud(WRITERS[name](square, [[0, 1, 2, corner]]), name)


@settings(max_examples=60, deadline=2_000, derandomize=True)
@given(
    corners=st.lists(
        st.tuples(*[st.sampled_from((0.0, 1.0, -2.5, 1e-160, 1e160, 3.0))] * 3), min_size=4, max_size=30
    ),
    name=st.sampled_from(sorted(WRITERS)),
)
def test_any_polygon_is_sampled_within_its_corners_or_refused(corners, name):
    try:
        points = cloud(WRITERS[name](corners, [range(len(corners))]), name, limits=Limits(min_points=4))
    except MediaError as error:
        assert error.message.startswith(name)
        return
    low, high = np.min(corners, axis=0), np.max(corners, axis=0)
    if np.abs(corners).max() < 1e30:
        assert (points >= low - 1e-3).all()
        assert (points <= high + 1e-3).all()

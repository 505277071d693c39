import io
import struct
import tracemalloc

import numpy as np
import plyfile
import pytest
import samples

from connectors.errors import InvalidMedia, MediaTooLarge
from connectors.media import Limits, decode
from connectors.media.geometry import SURFACE_POINTS
from connectors.media.pcd import unpack_lzf
from connectors.media.point_cloud import is_read_in_python


def cloud(data, name=None, **options):
    return decode("point_cloud", data, name=name, **options)


def is_on_the_box(points, size=(2.0, 1.0, 1.0)):
    """Every point on one of the six sides, every side hit in proportion to its area."""
    half = np.array(size) / 2
    assert points.shape == (SURFACE_POINTS, 3)
    assert points.dtype == np.float32
    at_side = np.isclose(np.abs(points), half, atol=1e-4)
    assert at_side.any(axis=1).all()
    assert (np.abs(points) <= half + 1e-4).all()
    areas = np.array([size[1] * size[2], size[0] * size[2], size[0] * size[1]])
    assert np.allclose(at_side.mean(axis=0), areas / areas.sum(), atol=0.02)


@pytest.mark.parametrize("name", samples.CLOUDS)
def test_every_format_gives_the_same_points(name):
    points = cloud(samples.file("point_cloud", name), name)
    assert points.dtype == np.float32
    assert points.shape == (100, 3)
    # las stores multiples of its scale, 0.0001 here.
    assert np.abs(points - samples.points()).max() < (1e-4 if name in ("a.las", "a.laz") else 1e-6)


@pytest.mark.parametrize("name", [n for n in samples.MESHES if n != "polygons.ply"])
def test_every_mesh_is_sampled_evenly_over_its_surface(name):
    is_on_the_box(cloud(samples.file("point_cloud", name), name))


def test_polygons_are_split_into_triangles():
    square = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], np.float32)
    for faces in ([[0, 1, 2, 3]], [[0, 1, 2], [0, 1, 2, 3]]):
        for text in (True, False):
            points = cloud(samples.ply(square, faces, text=text))
            assert np.allclose(points.min(axis=0), 0, atol=0.02)
            assert np.allclose(points.max(axis=0), (1, 1, 0), atol=0.02)
    obj = b"v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nf 1/1/1 2/2/2 3//3 -1\n"
    assert np.allclose(cloud(obj, "a.obj").mean(axis=0), (0.5, 0.5, 0), atol=0.02)
    off = b"OFF4 1 0\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n4 0 1 2 3 255 0 0\n"
    assert np.allclose(cloud(off.replace(b"OFF4", b"OFF 4")).mean(axis=0), (0.5, 0.5, 0), atol=0.02)
    assert (cloud(off, "modelnet.off") == cloud(off.replace(b"OFF4", b"OFF\n4"))).all()


def test_a_ply_whose_faces_are_none_is_a_cloud():
    for text in (True, False):
        assert np.allclose(cloud(samples.ply(samples.points(), [], text=text)), samples.points())


def test_a_ply_may_have_other_lists_and_numbers_around_what_is_read():
    strips = np.empty(1, [("vertex_indices", "O")])
    strips["vertex_indices"] = [np.arange(5, dtype=np.int32)]
    vertices = np.array([tuple(row) for row in samples.points()], [(axis, "f8") for axis in "xyz"])
    before = np.zeros(3, [("weight", "f4"), ("name", "u1")])
    for text in (True, False):
        out = io.BytesIO()
        elements = [("camera", before), ("tristrips", strips), ("vertex", vertices), ("material", before)]
        described = [plyfile.PlyElement.describe(table, name) for name, table in elements]
        plyfile.PlyData(described, text=text).write(out)
        assert np.allclose(cloud(out.getvalue()), samples.points())


def test_the_same_mesh_is_always_the_same_cloud():
    data = samples.file("point_cloud", "a.stl")
    assert (cloud(data) == cloud(data)).all()


SQUARE = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\n"


@pytest.mark.parametrize(
    "obj",
    [
        SQUARE + "f 1 2 3 4\n",
        SQUARE + "f -4 -3 -2 -1\nv 9 9 9\n",
        "v 0 0 0\nv 1 0 0\nv 1 1 0\nf -3 -2 -1\nv 0 1 0\nf -4 -2 -1\n",
        SQUARE + "vt 0 0\nvn 0 0 1\nf 1/1/1 2/1/1 3/1/1\nf 1//1 -2 4/1\n",
        (SQUARE + "f 1 2 3 4\n").replace(" ", "\t"),
        "  " + (SQUARE + "f 1 2 3 4\n").replace("\n", "\r\n  "),
        SQUARE.replace("1 1 0", "1 1 0 0.5 0.5 0.5 # red") + "f 1 2 \\\n3 4 # all of it\n",
        SQUARE + "usemtl a\nf 1 2 3\n# usemtl f 1 2 3\nusemtl b\ng x\ns off\nl 1 2\nf 1 2\nf 1 3 4\n",
    ],
    ids=["plain", "backwards", "between", "unlike", "tabs", "indented", "continued", "materials"],
)
def test_an_obj_is_read_however_its_lines_are_written(obj):
    points = cloud(obj.encode(), "a.obj")
    assert np.allclose(points.min(axis=0), 0, atol=0.02)
    assert np.allclose(points.max(axis=0), (1, 1, 0), atol=0.02)
    assert np.allclose(points.mean(axis=0), (0.5, 0.5, 0), atol=0.02)


@pytest.mark.parametrize(
    "line", ["f 1 2 x", "f 1 2 3.5", "v 1 one 0", "v 1 1", "f 0 1 2", "f 1 2 3/1 9//", "v 0 0 0x"]
)
def test_an_obj_with_a_line_that_cannot_be_read_is_invalid(line):
    with pytest.raises(InvalidMedia, match=r"a\.obj"):
        cloud(f"{SQUARE}f 1 2 3 4\n{line}\n".encode(), "a.obj")


def test_an_obj_of_many_materials_is_one_mesh():
    parts = "".join(f"usemtl m{i}\nf 1 2 3 4\n" for i in range(20_000))
    vertices = SQUARE * 500
    tracemalloc.start()
    assert np.allclose(cloud((vertices + parts).encode(), "a.obj").mean(axis=0), (0.5, 0.5, 0), atol=0.02)
    assert tracemalloc.get_traced_memory()[1] < 50_000_000
    tracemalloc.stop()


def test_an_obj_opens_no_other_file(tmp_path, monkeypatch):
    obj = samples.file("point_cloud", "a.obj")
    named = b"mtllib /etc/passwd\nmtllib http://127.0.0.1:9/a.mtl\nusemtl x\n" + obj
    assert (cloud(named, "a.obj") == cloud(obj, "a.obj")).all()


def test_a_mesh_file_without_faces_is_a_cloud():
    rows = samples.points(40)
    obj = "".join(f"v {x} {y} {z}\n" for x, y, z in rows).encode()
    assert np.allclose(cloud(obj), rows)
    assert np.allclose(cloud(b"OFF\n40 0 0\n" + samples.xyz(rows)), rows)


@pytest.mark.parametrize("separator", [" ", ",", ";", "\t", " , "])
def test_rows_of_numbers_are_read_whatever_separates_them(separator):
    rows = np.hstack([samples.points(), np.ones((100, 3))])
    data = b"# a comment\n// another\n\n" + samples.xyz(rows, separator)
    assert np.allclose(cloud(data, "a.xyz"), samples.points())
    assert np.allclose(cloud(data, "a.txt"), samples.points())
    assert np.allclose(cloud(data), samples.points())


def test_a_csv_header_chooses_the_columns():
    rows = np.hstack([np.arange(100)[:, None], samples.points()[:, ::-1]])
    assert np.allclose(cloud(samples.xyz(rows, ",", '"id",Z,Y,X\n'), "a.csv"), samples.points())


def test_an_npz_is_searched_for_its_cloud():
    assert np.allclose(cloud(samples.npz(anything=samples.points())), samples.points())
    with pytest.raises(InvalidMedia, match="2 arrays and none is called points"):
        cloud(samples.npz(a=samples.points(), b=samples.points()))


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", "<f2", "<i4", "u1"])
def test_arrays_of_every_number_type_and_order_are_read(dtype):
    rows = (np.arange(300).reshape(100, 3) % 97).astype(dtype)
    assert np.allclose(cloud(samples.npy(rows)), rows)
    assert np.allclose(cloud(samples.npy(np.asfortranarray(rows))), rows)
    assert np.allclose(cloud(samples.npy(np.hstack([rows, rows]))), rows)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((100, 2)),
        np.zeros(300),
        np.zeros((10, 10, 3)),
        np.zeros((100, 3), bool),
        np.zeros((100, 3), complex),
        np.array([{"a": 1}] * 100, object),
        np.array([["a", "b", "c"]] * 100),
    ],
)
def test_arrays_that_are_no_clouds_are_invalid(array):
    with pytest.raises(InvalidMedia, match=r"a\.npy holds"):
        cloud(samples.npy(array), "a.npy")


UTM = np.array([500_000, 4_000_000, 100])


def test_survey_coordinates_keep_their_shape():
    rows = samples.points().astype(np.float64)
    for data in (
        samples.las(rows + UTM),
        samples.npy(rows + UTM),
    ):
        points = cloud(data)
        assert np.abs((points - points.mean(axis=0)) - (rows - rows.mean(axis=0))).max() < 1e-3


def test_a_structured_pcd_leaves_out_pixels_without_a_measurement():
    rows = samples.points()
    rows[::10] = np.nan
    assert np.allclose(cloud(samples.pcd(rows, width=10)), rows[~np.isnan(rows[:, 0])])
    with pytest.raises(InvalidMedia, match="not finite"):
        cloud(samples.pcd(rows))


def test_lzf_repeats_runs_that_reach_into_themselves():
    assert unpack_lzf(b"\x01ab\x60\x01", 7) == b"abababa"
    assert unpack_lzf(samples.lzf(b"x" * 150 + b"abc"), 153) == b"x" * 150 + b"abc"
    with pytest.raises(ValueError, match="before its beginning"):
        unpack_lzf(b"\x00a\x60\x05", 6)
    with pytest.raises(ValueError, match="instead of 3"):
        unpack_lzf(b"\x00a", 3)


def every_way_to_write(rows):
    """The cloud as each format that can hold any float."""
    return {
        "a.npy": samples.npy(rows),
        "a.npz": samples.npz(points=rows),
        "a.xyz": samples.xyz(rows),
        "a.ply": samples.ply(rows),
        "text.ply": samples.ply(rows, text=True),
        "a.pcd": samples.pcd(rows),
        "text.pcd": samples.pcd(rows, "ascii"),
        "compressed.pcd": samples.pcd(rows, "binary_compressed"),
    }


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_coordinates_that_are_not_finite_are_invalid(bad):
    rows = samples.points()
    rows[50, 1] = bad
    for name, data in every_way_to_write(rows).items():
        with pytest.raises(InvalidMedia, match=f"{name} has coordinates that are not finite"):
            cloud(data, name)


def test_coordinates_past_float32_are_invalid():
    with pytest.raises(InvalidMedia, match="too large for 32-bit"):
        cloud(samples.npy(samples.points().astype(np.float64) * 1e300))


@pytest.mark.parametrize("count", [1, 31])
def test_a_few_points_are_invalid(count):
    for name, data in every_way_to_write(samples.points(count)).items():
        with pytest.raises(InvalidMedia, match=f"{name} has {count} points?; at least 32 are needed"):
            cloud(data, name)


def test_points_all_in_one_place_are_invalid():
    with pytest.raises(InvalidMedia, match="all its points in one place"):
        cloud(samples.npy(np.ones((100, 3))))


def test_a_mesh_without_a_surface_is_invalid():
    with pytest.raises(InvalidMedia, match="mesh without a surface"):
        cloud(b"v 0 0 0\nv 1 1 1\nv 2 2 2\nf 1 2 3\n", "a.obj")


@pytest.mark.parametrize("corner", [9, -9])
def test_a_corner_that_is_not_there_is_invalid(corner):
    with pytest.raises(InvalidMedia, match="corner that is not in the file"):
        cloud(f"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 {corner}\n".encode(), "a.obj")


PLY_HEADER = (
    "ply\nformat {form} 1.0\nelement vertex {count}\n"
    "property float x\nproperty float y\nproperty float z\nend_header\n"
)
PCD_HEADER = "VERSION .7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nWIDTH {count}\nHEIGHT 1\nDATA {form}\n"


def npy_declaring(count):
    data = samples.npy(samples.points(100))
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({count}, 3), }}".ljust(117) + "\n"
    return data[:8] + struct.pack("<H", len(header)) + header.encode() + data[128:]


@pytest.mark.parametrize(
    "data",
    [
        *(
            PLY_HEADER.format(form=f, count=10**12).encode() + bytes(1000)
            for f in ("ascii", "binary_little_endian")
        ),
        *(PCD_HEADER.format(form=f, count=10**12).encode() + bytes(1000) for f in ("ascii", "binary")),
        b"OFF\n1000000000000 1000000000000 0\n0 0 0\n",
        npy_declaring(10**12),
        npy_declaring(10**6),
        bytes(80) + struct.pack("<I", 2**32 - 1) + bytes(50),
    ],
)
def test_counts_in_headers_are_not_believed(data):
    tracemalloc.start()
    with pytest.raises((InvalidMedia, MediaTooLarge)):
        cloud(data, "a.stl" if data[:80] == bytes(80) else None)
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()


def test_a_compressed_array_larger_than_the_limit_is_refused_by_its_header():
    bomb = samples.npz(points=np.zeros((3_000_000, 3), np.float32))
    assert len(bomb) < 100_000
    tracemalloc.start()
    with pytest.raises(MediaTooLarge, match="3,000,000 points; the limit is 1,000,000"):
        cloud(bomb, limits=Limits(max_points=1_000_000))
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


def test_a_las_that_declares_endless_records_is_invalid():
    scan = bytearray(samples.file("point_cloud", "a.las"))
    struct.pack_into("<I", scan, 100, 2**32 - 1)
    with pytest.raises(InvalidMedia, match="declares 4,294,967,295 records"):
        cloud(bytes(scan), "a.las")


def test_a_laz_that_declares_endless_chunks_is_invalid():
    scan = bytearray(samples.file("point_cloud", "a.laz"))
    points = struct.unpack_from("<I", scan, 96)[0]
    table = struct.unpack_from("<q", scan, points)[0]
    struct.pack_into("<I", scan, table + 4, 2**32 - 1)
    with pytest.raises(InvalidMedia, match="declares 4,294,967,295 chunks"):
        cloud(bytes(scan), "a.laz")


def test_points_and_faces_past_the_limits_are_too_large():
    for name in samples.CLOUDS:
        with pytest.raises(MediaTooLarge, match="points; the limit is 99"):
            cloud(samples.file("point_cloud", name), name, limits=Limits(max_points=99))
    for name in samples.MESHES:
        with pytest.raises(MediaTooLarge, match="triangles; the limit is 2"):
            cloud(samples.file("point_cloud", name), name, limits=Limits(max_faces=2))


@pytest.mark.parametrize("name", ["a.obj", "a.off", "a.xyz", "text.ply", "text.pcd"])
def test_endless_lines_are_refused_unread(name):
    data = samples.file("point_cloud", name)
    with pytest.raises(MediaTooLarge, match=r"lines; the limit is 400"):
        cloud(data + b"\n" * 1000, name, limits=Limits(max_points=200, max_faces=200))
    with pytest.raises((InvalidMedia, MediaTooLarge)):
        cloud(data.rstrip() + b" 1" * 1_000_000, name)


CUT_OFF_IS_VISIBLE = [n for n in (*samples.CLOUDS, *samples.MESHES) if n != "a.obj"]


@pytest.mark.parametrize("name", CUT_OFF_IS_VISIBLE)
@pytest.mark.parametrize("kept", [0.5, 0.9])
def test_a_file_that_was_cut_off_is_invalid(name, kept):
    data = samples.file("point_cloud", name)
    with pytest.raises(InvalidMedia, match=name):
        cloud(data[: int(len(data) * kept)], name)


def test_another_modality_is_invalid():
    with pytest.raises(InvalidMedia, match="is image/png, not a point cloud"):
        cloud(samples.file("image", "a.png"))
    with pytest.raises(InvalidMedia, match=r"story\.txt holds no rows of numbers"):
        cloud(b"once upon a time\nthere was a dog\n", "story.txt")


def test_comments_after_the_counts_of_an_off_hide_nothing():
    off = b"OFF # box\n3 1 0 # counts\n# corners\n0 0 0\n1 0 0\n0 1 0\n# a face\n3 0 1 2\n"
    assert np.allclose(cloud(off).max(axis=0), (1, 1, 0), atol=0.05)


def test_an_stl_may_have_several_solids_with_any_names():
    facet = (
        "facet normal 0 0 1\nouter loop\nvertex 0 0 {z}\nvertex 1 0 {z}\nvertex 0 1 {z}\nendloop\nendfacet\n"
    )
    solids = "".join(f"solid vertex of {z}\n{facet.format(z=z)}endsolid vertex of {z}\n" for z in (0, 4))
    points = cloud(solids.encode(), "two.stl")
    assert set(np.unique(points[:, 2])) == {0, 4}


@pytest.mark.filterwarnings("ignore")  # NumPy's, of the number
def test_an_stl_with_a_word_for_a_number_is_invalid():
    stl = samples.file("point_cloud", "text.stl").replace(b"vertex 1", b"vertex one", 1)
    with pytest.raises(InvalidMedia, match=r"a\.stl"):
        cloud(stl, "a.stl")


@pytest.mark.parametrize("name", ["a.off", "a.obj", "text.stl", "text-mesh.ply"])
def test_long_meshes_of_text_are_too_large(name):
    with pytest.raises(MediaTooLarge, match="bytes of text; the limit is 100"):
        cloud(samples.file("point_cloud", name), name, limits=Limits(max_mesh_text=100))


def test_which_files_may_keep_the_interpreter() -> None:
    assert is_read_in_python(b"v 1 2 3\nv 2 3 4\n", "a.obj")
    assert is_read_in_python(b"glTF\x02\0\0\0")
    assert is_read_in_python(b"ply\nformat binary_little_endian 1.0\nend_header\n\x00\x01\x02")
    assert not is_read_in_python(b"\x93NUMPY\x01\x00")

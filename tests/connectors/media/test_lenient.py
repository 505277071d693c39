"""Files that every other program opens, however they are written, and kinds that are not read."""

import contextlib
import io
import struct
import time

import numpy as np
import plyfile
import pytest
import samples

from connectors.errors import InvalidMedia, MediaTooLarge, UnsupportedMedia
from connectors.media import decode, sniff
from connectors.media.point_cloud import is_read_in_python
from connectors.media.unread_shapes import UNREAD_SHAPES


def cloud(data, name=None, **options):
    return decode("point_cloud", data, name=name, **options)


def clouds_of(files):
    return [(name, cloud(data, name)) for name, data in files.items()]


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "shift-jis", "utf-8"])
def test_names_may_be_in_any_encoding(encoding):
    word = ("日本" if encoding == "shift-jis" else "Tür größer é").encode(encoding)
    obj = (
        b"# " + word + b"\nmtllib " + word + b".mtl\no " + word + b"\n" + samples.file("point_cloud", "a.obj")
    )
    assert (cloud(obj, "a.obj") == cloud(samples.file("point_cloud", "a.obj"), "a.obj")).all()
    rows = np.hstack([samples.points(), np.ones((100, 1))])
    for name, data in {
        "a.xyz": b"# " + word + b"\n" + samples.xyz(rows),
        "a.csv": b"x,y,z," + word + b"\n" + samples.xyz(rows, ","),
        "a.pts": b"// " + word + b"\n100\n" + samples.xyz(rows),
        "a.ply": samples.ply(samples.points()).replace(b"a comment", word),
        "a.pcd": b"# " + word + b"\n" + samples.pcd(samples.points()),
    }.items():
        assert np.allclose(cloud(data, name), samples.points())


@pytest.mark.parametrize("end", [b"\r", b"\r\n", b" \n", b"\t\n"])
@pytest.mark.parametrize("name", ["a.ply", "big-endian.ply", "text.ply", "mesh.ply", "text-mesh.ply"])
def test_lines_of_a_ply_may_end_in_any_way(name, end):
    data = samples.file("point_cloud", name)
    start = data.index(b"end_header\n") + 11
    head, body = data[:start].replace(b"\n", end), data[start:]
    if name.startswith("text"):
        body = body.replace(b"\n", end)
    assert (cloud(head + body) == cloud(data)).all()


@pytest.mark.parametrize("first", [b"\n", b"\r"])
def test_the_body_of_a_ply_may_begin_with_what_ends_a_line(first):
    value = struct.unpack("<f", first + b"\0\0\x41")[0]
    rows = samples.points()
    rows[0, 0] = value
    data = samples.ply(rows)
    start = data.index(b"end_header\n") + 11
    for end in (b"\n", b"\r", b"\r\n"):
        assert np.allclose(cloud(data[:start].replace(b"\n", end) + data[start:]), rows)


def test_a_ply_may_name_its_axes_in_capitals():
    data = samples.ply(samples.points())
    for axis in (b"x", b"y", b"z"):
        data = data.replace(b"float " + axis, b"float " + axis.upper())
    assert np.allclose(cloud(data), samples.points())


def test_a_ply_agrees_with_plyfile_whatever_its_types():
    kinds = ["f8", "i2", "f4", "u1", "i4"]
    rows = np.zeros(100, [(n, k) for n, k in zip(["x", "a", "y", "b", "z"], kinds, strict=True)])
    for axis, column in zip("xyz", (100 * samples.points()).round().T, strict=True):
        rows[axis] = column
    for text in (True, False):
        for order in "<>":
            element = plyfile.PlyElement.describe(rows, "vertex")
            out = plyfile.PlyData([element], text=text, byte_order=order)
            stream = io.BytesIO()
            out.write(stream)
            points = cloud(stream.getvalue())
            assert (points == np.stack([rows[axis] for axis in "xyz"], axis=1).astype(np.float32)).all()


def test_an_stl_may_be_in_capitals():
    data = samples.file("point_cloud", "text.stl")
    for other in (
        data.upper(),
        data.title(),
        data.replace(b"\n", b"\r"),
        data.replace(b"\n", b"\r\n"),
        b"\n " + data,
    ):
        for name in (None, "a.stl"):
            assert (cloud(other, name) == cloud(data)).all()


@pytest.mark.parametrize("extra", [b"\0\0", b"\r\n", b"12345678901234567890"])
def test_an_stl_may_have_a_few_bytes_too_many(extra):
    data = samples.file("point_cloud", "a.stl")
    solid = b"solid a program's name" + data[22:]
    for name in (None, "a.stl"):
        assert (cloud(data + extra, name) == cloud(data)).all()
        assert (cloud(solid + extra, name) == cloud(data)).all()
    with pytest.raises(InvalidMedia, match="is cut off or damaged: 12 triangles declared"):
        cloud(data + bytes(50), "a.stl")


@pytest.mark.parametrize("form", ["ascii", "binary", "binary_compressed"])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"VERSION 0.7", b"VERSION .6"),
        (b"VERSION 0.7", b"VERSION .5"),
        (b"FIELDS x pair y z", b"FIELDS X pair Y Z"),
        (b"FIELDS x", b"COLUMNS x"),
        (b"TYPE F U F F", b"TYPE f u f f"),
        (b"WIDTH 100\nHEIGHT 1\n", b""),
        (b"# .PCD v0.7", b"# .PCD v.5"),
        (b"# .PCD v0.7 - Point Cloud Data file format\n", b"\n# made by hand\n\n"),
        (b"POINTS 100\n", b""),
    ],
)
def test_a_pcd_of_every_version_is_read(form, old, new):
    data = samples.pcd(samples.points(), form)
    assert old in data
    assert np.allclose(cloud(data.replace(old, new, 1)), samples.points())


@pytest.mark.parametrize("end", [b"\r", b"\r\n"])
def test_lines_of_a_pcd_may_end_in_any_way(end):
    data = samples.pcd(samples.points(), "binary")
    start = data.index(b"DATA binary\n") + 12
    head = data[:start].replace(b"VERSION 0.7\n", b"VERSION 0.7\n").replace(b"\n", end)
    assert np.allclose(cloud(head + data[start:]), samples.points())


def test_an_off_may_begin_with_a_comment_and_mix_its_faces():
    off = b"# a house\nOFF\n5 2 0\n0 0 0\n2 0 0\n2 2 0\n1 3 0\n0 2 0\n5 0 1 2 3 4\n3 0 1 2\n"
    assert np.allclose(cloud(off).max(axis=0), (2, 3, 0), atol=0.1)


UNREAD = {
    "a.fbx": (b"Kaydara FBX Binary  \0\x1a\0" + bytes(100), "an Autodesk FBX scene"),
    "text.fbx": (b"; FBX 7.3.0 project file\n", "an Autodesk FBX scene"),
    "a.blend": (b"BLENDER-v300" + bytes(100), "a Blender file"),
    "a.usda": (b"#usda 1.0\n(\n)\n", "a Universal Scene Description"),
    "a.usdc": (b"PXR-USDC" + bytes(80), "a Universal Scene Description"),
    "a.usdz": (samples.zipped({"a.usdc": b"PXR-USDC"}, 0), "a Universal Scene Description"),
    "a.step": (b"ISO-10303-21;\nHEADER;\n", "a STEP model"),
    "a.iges": (b"".join([b"a file".ljust(72), b"S      1\n"]), "an IGES model"),
    "a.x3d": (b'<?xml version="1.0"?>\n<X3D profile="x"></X3D>', "an X3D scene"),
    "a.wrl": (b"#VRML V2.0 utf8\nShape {}\n", "a VRML scene"),
    "a.amf": (b'<?xml version="1.0"?>\n<amf unit="mm"></amf>', "an Additive Manufacturing File"),
    "a.vtk": (b"# vtk DataFile Version 3.0\nx\nASCII\n", "a VTK data set"),
    "a.vtp": (b'<?xml version="1.0"?><VTKFile type="PolyData"/>', "a VTK data set"),
    "a.3ds": (b"MM" + struct.pack("<IHI", 99, 2, 10) + bytes(80), "an Autodesk 3DS scene"),
    "a.dxf": (b"  0\nSECTION\n  2\nHEADER\n", "an AutoCAD drawing"),
    "a.e57": (b"ASTM-E57" + bytes(40), "an ASTM E57 scan"),
    "a.msh": (b"$MeshFormat\n4.1 0 8\n", "a Gmsh mesh"),
}


@pytest.mark.parametrize("name", UNREAD)
def test_what_is_not_read_is_refused_by_its_name(name):
    data, called = UNREAD[name]
    for name_or_none in (name, None):
        with pytest.raises(UnsupportedMedia, match=f"is {called}.*, which is not supported. Supported: "):
            sniff(data, name_or_none)
        with pytest.raises(UnsupportedMedia, match=f"is {called}"):
            cloud(data, name_or_none)


@pytest.mark.parametrize("suffix", sorted(UNREAD_SHAPES))
def test_a_name_alone_tells_what_is_not_read(suffix):
    for data in (b"some text\n", bytes(range(256))):
        with pytest.raises(UnsupportedMedia) as caught:
            sniff(data, f"a{suffix.upper()}")
        assert UNREAD_SHAPES[suffix] in caught.value.message


@pytest.mark.parametrize(
    "word", [b"ISO-10303-21; is a standard", b"BLENDER is a program", b"#usda 1.0 begins it"]
)
def test_a_text_may_speak_of_them(word):
    assert sniff(word, "notes.txt").modality == "text"


PLY = b"ply\nformat ascii 1.0\nelement vertex 2\nproperty float x\nproperty float y\nproperty float z\n"
PCD = b"VERSION .7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nWIDTH 1\nHEIGHT 1\nDATA ascii\n1 2 3\n"
NO_DIRECTORY = b"PK\x03\x04" + bytes(22) + b"\x10\0\0\0" + b"3D/3dmodel.model"
ANSWERS = [
    (
        "a.ply",
        PLY.replace(b" x", b" a") + b"end_header\n",
        "has no x in its element vertex, which has a, y, z",
    ),
    (
        "a.ply",
        PLY.replace(b"float x", b"half x") + b"end_header\n",
        "its ply header has the unknown type half",
    ),
    ("a.ply", PLY + b"end_header\n1 2 3\n1 two 3\n", "row 2 of its numbers has 'two' where a number"),
    ("a.ply", PLY, "its ply header does not end"),
    ("a.pcd", PCD.replace(b"x y z", b"a b c"), "has the fields a, b, c; one x, one y and one z are needed"),
    ("a.pcd", PCD.replace(b"TYPE F F F\n", b""), "its pcd header has no TYPE line"),
    ("a.obj", b"v 1 2 three\n", "it has no numbers where they should be in 'v 1 2 three'"),
    ("a.glb", b"glTF\x02\0\0\0", "is cut off: it ends in its header"),
    ("a.csv", b"a,b\n1,2\n", "does not say which of its columns are x, y and z: a, b"),
    ("a.npy", b"\x93NUMPY\x01\x00\x05\x00{'a'}", "is damaged: it cannot be read as an npy array"),
    ("a.las", b"LASF" + bytes(10), "is damaged: it cannot be read as a las or laz scan"),
    ("a.3mf", NO_DIRECTORY, "it is a zip without a directory"),
    ("a.dae", b"<COLLADA>", "its XML cannot be read from line 1 on"),
]


@pytest.mark.parametrize(("name", "data", "reason"), ANSWERS)
def test_damage_is_told_in_plain_words(name, data, reason):
    with pytest.raises(InvalidMedia, match=f"{name} .*{reason}"):
        cloud(data, name)


JARGON = [
    "not in list",
    "index out of range",
    "unpack",
    "buffer",
    "dtype",
    "codec",
    "argument",
    "object is not",
    "NoneType",
]


@pytest.mark.parametrize("name", [*samples.CLOUDS, *samples.MESHES])
def test_no_answer_speaks_the_language_of_a_library(name):
    data = samples.file("point_cloud", name)
    rng = np.random.default_rng(0)
    for _ in range(150):
        broken = bytearray(data[: rng.integers(1, len(data) + 1)])
        for place in rng.integers(0, len(broken), 3):
            broken[place] = rng.integers(256)
        try:
            cloud(bytes(broken), name)
        except (InvalidMedia, UnsupportedMedia, MediaTooLarge) as error:
            assert not [word for word in JARGON if word in error.message], error.message


def test_four_answers_are_four_kinds_of_error():
    box = samples.file("point_cloud", "a.dae")
    with pytest.raises(InvalidMedia, match=r"a\.dae is empty"):
        cloud(b"", "a.dae")
    with pytest.raises(InvalidMedia, match=r"a\.dae is cut off or damaged"):
        cloud(box[:500], "a.dae")
    with pytest.raises(UnsupportedMedia, match=r"a\.fbx is an Autodesk FBX scene, which is not supported"):
        cloud(b"; FBX 7", "a.fbx")
    with pytest.raises(MediaTooLarge, match=r"a\.dae has .* bytes of text; the limit is"):
        cloud(box + b" " * (1 << 24), "a.dae")


def test_first_bytes_are_told_quickly():
    for head in (
        b"<!---->" * 600,
        b"#\n" * 2000,
        b"\n" * 4000,
        b"<?xml" * 800,
        b"solid " * 700,
        b"OFF" + b"#\n" * 2000,
    ):
        start = time.perf_counter()
        with contextlib.suppress(UnsupportedMedia):
            sniff(head)
        assert time.perf_counter() - start < 0.2


@pytest.mark.parametrize("name", ["a.gltf", "gltf.zip", "a.3mf", "a.dae", "a.obj", "a.csv", "a.off"])
def test_what_python_reads_is_read_in_a_process_of_its_own(name):
    assert is_read_in_python(samples.file("point_cloud", name), name)

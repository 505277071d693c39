"""Meshes in XML: 3mf and dae. What they place, what is refused, and bombs."""

import io
import tracemalloc
import zipfile

import numpy as np
import pytest
import samples
import trimesh

from connectors.errors import InvalidMedia, MediaTooLarge, UnsupportedMedia
from connectors.media import Limits, decode


def cloud(data, name=None, **options):
    return decode("point_cloud", data, name=name, **options)


def bounds(data, name=None, **options):
    points = cloud(data, name, **options)
    return np.concatenate((points.min(axis=0), points.max(axis=0)))


def at(low, high):
    return pytest.approx(np.array([low, high], float).ravel(), abs=0.06)


BOX = ((-1, -0.5, -0.5), (1, 0.5, 0.5))
MOVED = "1 0 0 0 1 0 0 0 1 10 20 30"
TURNED = "0 2 0 -2 0 0 0 0 2 0 0 0"  # x to y, and twice as large
COMPONENTS = '<object id="2"><components><component objectid="1" transform="{}"/></components></object>'


def test_a_build_places_its_objects():
    moved = samples.threemf(samples.box(), f'<item objectid="1" transform="{MOVED}"/>')
    assert bounds(moved) == at((9, 19.5, 29.5), (11, 20.5, 30.5))
    inside = samples.threemf(
        samples.box(), f'<item objectid="2" transform="{MOVED}"/>', COMPONENTS.format(TURNED)
    )
    assert bounds(inside) == at((9, 18, 29), (11, 22, 31))
    both = samples.threemf(
        samples.box(), '<item objectid="1"/>' + f'<item objectid="1" transform="{MOVED}"/>'
    )
    assert bounds(both) == at((-1, -0.5, -0.5), (11, 20.5, 30.5))


def test_parts_of_their_own_are_read():
    production = "http://schemas.microsoft.com/3dmanufacturing/production/2015/06"
    part = zipfile.ZipFile(io.BytesIO(samples.threemf(samples.box()))).read("3D/3dmodel.model")
    root = (
        f'<model xmlns="{samples.THREEMF}" xmlns:p="{production}" requiredextensions="p"><resources>'
        f'<object id="1"><components><component p:path="/3D/Objects/a.model" objectid="1" '
        f'transform="{MOVED}"/>'
        '</components></object></resources><build><item objectid="1"/></build></model>'
    )
    files = {"3D/Objects/a.model": part, "3D/3dmodel.model": root.encode()}
    assert bounds(samples.zipped(files)) == at((9, 19.5, 29.5), (11, 20.5, 30.5))
    with pytest.raises(InvalidMedia, match=r"is a zip without /3D/Objects/a\.model"):
        cloud(samples.zipped({"3D/3dmodel.model": root.encode()}), "a.3mf")


def test_a_3mf_is_read_as_trimesh_writes_it():
    scene = trimesh.Scene()
    matrix = trimesh.transformations.compose_matrix(angles=(0.3, 0.2, 0.1), translate=(5, 6, 7))
    scene.add_geometry(samples.box(), transform=matrix)
    data = samples.mesh_file(scene, "3mf")
    assert bounds(data, "a.3mf") == pytest.approx(scene.bounds.ravel(), abs=0.08)


@pytest.mark.parametrize(
    ("options", "error", "reason"),
    [
        ({"build": ""}, InvalidMedia, "has no meshes in its build"),
        ({"build": '<item objectid="7"/>'}, InvalidMedia, "its object 7 is missing"),
        (
            {"head": 'xmlns:b="http://x/beamlattice" requiredextensions="b"'},
            UnsupportedMedia,
            "needs the 3MF extension http://x/beamlattice, which is not read",
        ),
        (
            {"build": '<item objectid="2"/>', "more": COMPONENTS.format(MOVED).replace('d="1"', 'd="2"')},
            MediaTooLarge,
            "more than 100 objects inside one another",
        ),
    ],
)  # fmt: skip
def test_a_bad_3mf_is_refused_and_says_why(options, error, reason):
    with pytest.raises(error, match=reason):
        cloud(samples.threemf(samples.box(), **options), "a.3mf")


def test_objects_inside_objects_are_counted():
    part = '<object id="{}"><components>' + '<component objectid="{}"/>' * 10 + "</components></object>"
    more = "".join(part.format(i, *[i - 1] * 10) for i in range(2, 12))
    with pytest.raises(MediaTooLarge, match="triangles; the limit is 1,000"):
        cloud(samples.threemf(samples.box(), '<item objectid="11"/>', more), limits=Limits(max_faces=1000))
    empty = "".join(part.format(i, *[i - 1] * 10) for i in range(3, 14)) + '<object id="2"/>'
    with pytest.raises(MediaTooLarge, match="too many objects in its build"):
        cloud(samples.threemf(samples.box(), '<item objectid="13"/>', empty), "a.3mf")


TRIANGLES = samples.dae_triangles(samples.box().faces)


def dae(nodes='<node><instance_geometry url="#g"/></node>', more="", faces=TRIANGLES):
    return samples.dae(samples.box().vertices, faces, nodes, more)


@pytest.mark.parametrize(
    ("nodes", "low", "high"),
    [
        ("<node>{}</node>", *BOX),
        ("<node><translate>10 20 30</translate>{}</node>", (9, 19.5, 29.5), (11, 20.5, 30.5)),
        ("<node><matrix>0 -2 0 5 2 0 0 0 0 0 2 0 0 0 0 1</matrix>{}</node>", (4, -2, -1), (6, 2, 1)),
        (
            "<node><translate>5 0 0</translate><rotate>0 0 1 90</rotate>"
            "<node><scale>2 2 2</scale>{}</node></node>",
            (4, -2, -1), (6, 2, 1),
        ),
        (
            '<node><translate>0 0 9</translate><instance_node url="#n"/></node>',
            (-1, -0.5, 8.5), (1, 0.5, 9.5),
        ),
        (
            '<node><translate>7 7 7</translate><instance_controller url="#c"/></node>',
            (-1, -0.5, 2.5), (1, 0.5, 3.5),
        ),
    ],
)  # fmt: skip
def test_nodes_of_a_dae_place_its_meshes(nodes, low, high):
    more = (
        '<library_nodes><node id="n"><instance_geometry url="#g"/></node></library_nodes>'
        "<library_controllers>"
        '<controller id="c"><skin source="#g"><bind_shape_matrix>1 0 0 0 0 1 0 0 0 0 1 3 0 0 0 1'
        "</bind_shape_matrix></skin></controller></library_controllers>"
    )
    assert bounds(dae(nodes.format('<instance_geometry url="#g"/>'), more)) == at(low, high)


INPUTS = '<input semantic="VERTEX" source="#v" offset="0"/><input semantic="NORMAL" source="#n" offset="1"/>'
U = [(0, 0, 0), (3, 0, 0), (3, 3, 0), (2, 3, 0), (2, 1, 0), (1, 1, 0), (1, 3, 0), (0, 3, 0)]


@pytest.mark.parametrize(
    "faces",
    [
        "<polylist count='1'>{inputs}<vcount>8</vcount><p>{all}</p></polylist>",
        "<polygons count='1'>{inputs}<p>{all}</p></polygons>",
    ],
)
def test_polygons_of_a_dae_have_their_notches(faces):
    every = " ".join(f"{i} 0" for i in range(8))  # each with an index of a normal
    points = cloud(samples.dae(U, faces.format(inputs=INPUTS, all=every)), "a.dae")
    inside = (points[:, 0] > 1.01) & (points[:, 0] < 1.99) & (points[:, 1] > 1.01)
    assert not inside.any()
    assert points.mean(axis=0) == pytest.approx([1.5, (9 * 1.5 - 2 * 2) / 7, 0], abs=0.03)


def test_a_dae_is_read_as_pycollada_writes_and_reads_it():
    shape = trimesh.creation.icosphere(2)
    shape.apply_transform(trimesh.transformations.compose_matrix(scale=(1, 2, 3), translate=(5, 6, 7)))
    written = samples.mesh_file(shape, "dae")
    assert bounds(written, "a.dae") == pytest.approx(shape.bounds.ravel(), abs=0.1)
    inner = '<node><scale>2 3 4</scale><instance_geometry url="#g"/></node>'
    data = dae(f"<node><translate>5 0 0</translate><rotate>0 0 1 90</rotate>{inner}</node>")
    theirs = trimesh.load_scene(io.BytesIO(data.replace(b'"#n"', b'"#p"')), file_type="dae")
    assert bounds(data) == pytest.approx(theirs.bounds.ravel(), abs=0.1)


@pytest.mark.parametrize("kind", ["tristrips", "trifans", "triangles", "polylist"])
def test_every_list_of_faces_of_a_dae_is_read(kind):
    square = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)]
    order = {"tristrips": (0, 1, 3, 2), "trifans": (0, 1, 2, 3), "polylist": (0, 1, 2, 3)}
    corners = " ".join(f"{i} 0" for i in order.get(kind, (0, 1, 2, 0, 2, 3)))
    counts = "<vcount>4</vcount>" if kind == "polylist" else ""
    faces = f"<lines>{INPUTS}<p>0 0</p></lines><{kind}>{INPUTS}{counts}<p>{corners}</p></{kind}>"
    points = cloud(samples.dae(square, faces), "a.dae")
    assert points.mean(axis=0) == pytest.approx([0.5, 0.5, 0], abs=0.02)
    assert np.ptp(points, axis=0) == pytest.approx([1, 1, 0], abs=0.02)


def test_materials_of_a_dae_share_its_points():
    corners = samples.dae_triangles(samples.box().faces)
    data = dae(faces=corners * 1000)
    tracemalloc.start()
    assert bounds(data, limits=Limits(max_points=8192)) == at(*BOX)
    assert tracemalloc.get_traced_memory()[1] < 100_000_000
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("data", "error", "reason"),
    [
        (dae("<node/>"), InvalidMedia, "has no meshes in its scene"),
        (dae('<node><instance_geometry url="#x"/></node>'), InvalidMedia, "refers to #x, which is missing"),
        (dae('<node><instance_geometry url="b.dae#x"/></node>'), InvalidMedia, "in another file"),
        (dae("<node><matrix>1 0</matrix></node>"), InvalidMedia, "a matrix has 2 numbers, not 16"),
        (dae("<node><lookat>1</lookat></node>"), UnsupportedMedia, "by lookat, which is not read"),
        (dae('<node id="a"><instance_node url="#a"/></node>'), MediaTooLarge, "nodes inside one another"),
        (dae(faces=TRIANGLES.replace("<p>", "<p>99 0 ")), InvalidMedia, "corner"),
        (dae(faces=TRIANGLES.replace("<p>", "<p>1 ")), InvalidMedia, "its faces have other corners"),
        (dae(faces=TRIANGLES.replace("<p>", "<p>one ")), InvalidMedia, "a.dae is"),
        (dae()[:-300], InvalidMedia, "its XML cannot be read from line 2 on"),
        (dae().replace(b'count="8"', b'count="999999999"'), InvalidMedia, "fewer than it says"),
    ],
)  # fmt: skip
def test_a_bad_dae_is_refused_and_says_why(data, error, reason):
    with pytest.raises(error, match=reason):
        cloud(data, "a.dae")


def test_nodes_that_refer_to_nodes_are_counted():
    library = "".join(
        f'<node id="n{i}">' + f'<instance_node url="#n{i + 1}"/>' * 10 + "</node>" for i in range(20)
    )
    library = f'<library_nodes>{library}<node id="n20"/></library_nodes>'
    with pytest.raises(MediaTooLarge, match="too many nodes"):
        cloud(dae('<node><instance_node url="#n0"/></node>', library), "a.dae")


BOMB = (
    '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">'
    + "".join(f'<!ENTITY {c} "{f"&{p};" * 10}">' for p, c in zip("abcdefgh", "bcdefghi", strict=True))
    + "]>"
)
THIEF = '<!DOCTYPE x [<!ENTITY i SYSTEM "file:///etc/passwd">]>'
FETCHER = '<!DOCTYPE x SYSTEM "http://127.0.0.1:9/x.dtd">'


@pytest.mark.parametrize("kind", [BOMB, THIEF, FETCHER], ids=["bomb", "thief", "fetcher"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_entities_are_refused_before_they_are_read(kind, encoding):
    scene = dae().decode().replace("?>\n", "?>" + kind).replace(">1 0 ", ">&i; ", 1)
    scene = scene.replace("utf-8", encoding).encode(encoding)
    model = zipfile.ZipFile(io.BytesIO(samples.threemf(samples.box()))).read("3D/3dmodel.model").decode()
    model = model.replace("?>", "?>" + kind, 1).replace("UTF-8", encoding).encode(encoding)
    tracemalloc.start()
    files = [("a.3mf", samples.zipped({"3D/3dmodel.model": model}))]
    files += [("a.dae", scene)] if encoding == "utf-8" else []
    for name, data in files:
        with pytest.raises(InvalidMedia, match="has a document type in its XML, which is not read"):
            cloud(data, name)
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


def test_xml_is_held_to_the_limits():
    bomb = samples.zipped({"3D/3dmodel.model": b" " * 50_000_000})
    assert len(bomb) < 100_000
    tracemalloc.start()
    with pytest.raises(MediaTooLarge, match="50,000,000 bytes of text; the limit is 16,777,216"):
        cloud(bomb, "a.3mf")
    with pytest.raises(MediaTooLarge, match="elements of XML inside one another"):
        cloud(dae(more="<a>" * 1000), "a.dae")
    with pytest.raises(MediaTooLarge, match="12 triangles; the limit is 11"):
        cloud(samples.threemf(samples.box()), limits=Limits(max_faces=11))
    with pytest.raises(MediaTooLarge, match="8 points; the limit is 7"):
        cloud(samples.threemf(samples.box()), limits=Limits(max_points=7))
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()

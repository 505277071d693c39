"""Scenes of glTF: what their nodes, skins, weights and instances make of meshes, and what is refused."""

import itertools
import json
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
import samples
import trimesh

from connectors.errors import InvalidMedia, MediaError, MediaTooLarge, UnsupportedMedia
from connectors.media import Limits, decode
from connectors.media.geometry import SURFACE_POINTS


def cloud(data, name=None, **options):
    return decode("point_cloud", data, name=name, **options)


def test_a_glb_is_put_together_as_its_scene_says():
    scene = trimesh.Scene()
    turn = trimesh.transformations.rotation_matrix(np.pi / 2, (0, 0, 1))
    scene.add_geometry(
        samples.box(), node_name="left", transform=trimesh.transformations.translation_matrix((-9, 0, 0))
    )
    scene.add_geometry(samples.box(), node_name="turned", parent_node_name="left", transform=turn)
    points = cloud(samples.mesh_file(scene, "glb"), "scene.glb")
    assert np.allclose(points.min(axis=0), (-10, -1, -0.5), atol=0.01)
    assert np.allclose(points.max(axis=0), (-8, 1, 0.5), atol=0.01)


def glb(document, body):
    head = json.dumps(document).encode()
    head += b" " * (-len(head) % 4)
    chunks = struct.pack("<I4s", len(head), b"JSON") + head + struct.pack("<I4s", len(body), b"BIN\0") + body
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def one_mesh(**changes):
    """A triangle strip of a unit square in the xy plane, scaled, turned and moved by its node."""
    body = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]], "<f4").tobytes()
    document = {
        "asset": {"version": "2.0"},
        "nodes": [
            {"mesh": 0, "scale": [2, 4, 1], "rotation": [0, 0, 0.5**0.5, 0.5**0.5], "translation": [0, 0, 7]}
        ],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "mode": 5}]}],
        "accessors": [{"bufferView": 0, "componentType": 5126, "count": 4, "type": "VEC3"}],
        "bufferViews": [{"buffer": 0, "byteLength": 48}],
        "buffers": [{"byteLength": 48}],
    }
    return glb(document | changes, body)


def test_glb_strips_and_scale_rotation_translation_are_applied():
    points = cloud(one_mesh())
    assert np.allclose(points.min(axis=0), (-4, 0, 7), atol=0.05)
    assert np.allclose(points.max(axis=0), (0, 2, 7), atol=0.05)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"accessors": [{"bufferView": 0, "componentType": 5126, "count": 10**12, "type": "VEC3"}]},
            "does not lie",
        ),
        ({"accessors": [{"componentType": 5126, "count": 10**12, "type": "VEC3"}]}, "accessor 0 has no data"),
        ({"buffers": [{"uri": "file:///etc/passwd", "byteLength": 48}]}, "another file"),
        ({"nodes": [{"mesh": 0, "children": [0]}], "scenes": [{"nodes": [0]}]}, "node 0 has two places"),
        ({"nodes": [{}]}, "no meshes"),
        ({"nodes": [{"mesh": 5}]}, "number 5 of its meshes, which is missing"),
    ],
)
def test_a_bad_glb_is_invalid_and_says_why(changes, reason):
    with pytest.raises(InvalidMedia, match=reason):
        cloud(one_mesh(**changes))


def test_a_glb_that_places_one_mesh_many_times_obeys_the_limit():
    nodes = [{"mesh": 0} for _ in range(1000)]
    with pytest.raises(MediaTooLarge, match="triangles; the limit is 1,000"):
        cloud(one_mesh(nodes=nodes), limits=Limits(max_faces=1000))


def test_nodes_inside_one_another_are_read_to_a_depth():
    def chain(length):
        return [{"children": [i + 1]} for i in range(length - 1)] + [{"mesh": 0, "translation": [0, 0, 7]}]

    assert np.allclose(cloud(one_mesh(nodes=chain(100)))[:, 2], 7)
    for length in (101, 5000):
        with pytest.raises(MediaTooLarge, match="nodes inside one another; the limit is 100"):
            cloud(one_mesh(nodes=chain(length)))


def test_a_glb_of_endless_nodes_or_json_is_too_large():
    with pytest.raises(MediaTooLarge, match="too many nodes"):
        cloud(one_mesh(nodes=[{"mesh": 0}] * 20_000))
    with pytest.raises(MediaTooLarge, match="bytes of JSON"):
        cloud(one_mesh(extras="x" * 10_000_000))


def test_accessors_may_share_bytes():
    accessor = {"bufferView": 0, "componentType": 5126, "count": 4, "type": "VEC3"}
    primitives = [{"attributes": {"POSITION": i}, "mode": 5} for i in range(2)]
    both = one_mesh(accessors=[accessor] * 2, meshes=[{"primitives": primitives}])
    assert np.allclose(cloud(both).mean(axis=0), cloud(one_mesh()).mean(axis=0), atol=0.1)


def test_many_primitives_of_one_node_are_all_kept():
    primitive = {"attributes": {"POSITION": 0}, "mode": 5}
    with pytest.raises(MediaTooLarge, match="6 triangles; the limit is 5"):
        cloud(one_mesh(meshes=[{"primitives": [primitive] * 3}]), limits=Limits(max_faces=5))
    assert cloud(one_mesh(meshes=[{"primitives": [primitive] * 3}])).shape == (SURFACE_POINTS, 3)


class Builder:
    """A document whose arrays are put into one buffer as they are added."""

    def __init__(self):
        self.body = b""
        self.json = {"asset": {"version": "2.0"}, "accessors": [], "bufferViews": [], "meshes": []}

    def view(self, array):
        data = np.ascontiguousarray(array).tobytes()
        self.json["bufferViews"].append({"buffer": 0, "byteOffset": len(self.body), "byteLength": len(data)})
        self.body += data + b"\0" * (-len(data) % 4)
        return len(self.json["bufferViews"]) - 1

    def add(self, array, kind, **more):
        code = {"i1": 5120, "u1": 5121, "i2": 5122, "u2": 5123, "u4": 5125, "f4": 5126}[array.dtype.str[1:]]
        self.json["accessors"].append(
            {"bufferView": self.view(array), "componentType": code, "count": len(array), "type": kind} | more
        )
        return len(self.json["accessors"]) - 1

    def mesh(self, points=None, attributes=None, **more):
        points = SHEET if points is None else points
        attributes = {"POSITION": self.add(points, "VEC3")} | (attributes or {})
        self.json["meshes"].append({"primitives": [{"attributes": attributes, "mode": 5} | more]})
        return len(self.json["meshes"]) - 1

    def file(self, **more):
        document = self.json | {"buffers": [{"byteLength": len(self.body)}]} | more
        return glb(document, self.body)


SHEET = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]], "<f4")


def box_of(points):
    return np.stack((points.min(axis=0), points.max(axis=0))).round(1).tolist()


def at(low, high, within=0.15):
    return pytest.approx(np.array([low, high], float).ravel(), abs=within)


def corners(data, **options):
    return np.ravel(box_of(cloud(data, **options)))


@pytest.mark.parametrize("name", ["FB_ngon_encoding", "VENDOR_shape", "CESIUM_primitive_outline"])
def test_an_extension_that_is_required_and_unknown_is_refused_by_name(name):
    with pytest.raises(UnsupportedMedia, match=f"needs the glTF extension {name}, which is not read"):
        cloud(one_mesh(extensionsRequired=[name], extensionsUsed=[name]), "a.glb")
    assert (cloud(one_mesh(extensionsUsed=[name])) == cloud(one_mesh())).all()


@pytest.mark.parametrize("name", ["KHR_draco_mesh_compression", "EXT_meshopt_compression"])
def test_compressions_are_refused_by_their_names(name):
    with pytest.raises(UnsupportedMedia, match=r"compressed with (Draco|meshopt), which is not read"):
        cloud(one_mesh(extensionsRequired=[name]))
    # Where it is not required, plain numbers are there as well.
    primitive = {"attributes": {"POSITION": 0}, "mode": 5, "extensions": {name: {"bufferView": 9}}}
    assert len(cloud(one_mesh(meshes=[{"primitives": [primitive]}]))) == SURFACE_POINTS


@pytest.mark.parametrize("name", ["KHR_materials_unlit", "KHR_texture_transform", "KHR_lights_punctual"])
def test_extensions_of_looks_do_no_harm(name):
    assert (cloud(one_mesh(extensionsRequired=[name])) == cloud(one_mesh())).all()


def test_another_version_is_not_read():
    with pytest.raises(UnsupportedMedia, match=r"is glTF 1\.0, which is not read"):
        cloud(one_mesh(asset={"version": "1.0"}))
    with pytest.raises(UnsupportedMedia, match="is glTF 1, which is not read"):
        cloud(b"glTF\x01\0\0\0" + bytes(20))


def test_the_node_of_a_skinned_mesh_has_no_place():
    build = Builder()
    joints = {"JOINTS_0": build.add(np.zeros((4, 4), "u1"), "VEC4")}
    joints["WEIGHTS_0"] = build.add(np.tile(np.array([1, 0, 0, 0], "<f4"), (4, 1)), "VEC4")
    nodes = [
        {"mesh": build.mesh(attributes=joints), "skin": 0, "translation": [100, 0, 0], "scale": [9, 9, 9]},
        {"translation": [0, 0, 5]},
    ]
    assert corners(build.file(nodes=nodes, skins=[{"joints": [1]}])) == at((0, 0, 5), (1, 1, 5))
    back = np.eye(4)
    back[2, 3] = -2
    inverse = build.add(back.T.astype("<f4").reshape(1, 16), "MAT4")
    skins = [{"joints": [1], "inverseBindMatrices": inverse}]
    assert corners(build.file(nodes=nodes, skins=skins)) == at((0, 0, 3), (1, 1, 3))


@pytest.mark.parametrize("kind", ["u1", "<u2", "<f4"])
def test_points_hang_on_joints_by_their_weights(kind):
    build = Builder()
    which = np.tile(np.array([0, 1, 0, 0], "u1"), (4, 1))
    share = np.tile([0.2, 0.8, 0, 0], (4, 1))
    if kind != "<f4":
        share = share * np.iinfo(kind).max
    joints = {"JOINTS_0": build.add(which, "VEC4")}
    joints["WEIGHTS_0"] = build.add(share.astype(kind), "VEC4", normalized=kind != "<f4")
    nodes = [{"mesh": build.mesh(attributes=joints), "skin": 0}, {"translation": [0, 0, 10]}, {}]
    assert corners(build.file(nodes=nodes, skins=[{"joints": [2, 1]}])) == at((0, 0, 8), (1, 1, 8))


def test_a_joint_that_is_missing_is_invalid():
    build = Builder()
    joints = {"JOINTS_0": build.add(np.full((4, 4), 7, "u1"), "VEC4")}
    joints["WEIGHTS_0"] = build.add(np.ones((4, 4), "<f4"), "VEC4")
    nodes = [{"mesh": build.mesh(attributes=joints), "skin": 0}, {}]
    with pytest.raises(InvalidMedia, match="hangs on a joint that its skin does not have"):
        cloud(build.file(nodes=nodes, skins=[{"joints": [1]}]))
    with pytest.raises(InvalidMedia, match="its joint 1 is not in the scene"):
        cloud(build.file(nodes=nodes, skins=[{"joints": [1]}], scenes=[{"nodes": [0]}]))


def test_weights_of_morph_targets_are_applied():
    build = Builder()
    up = build.add(np.tile(np.array([0, 0, 4], "<f4"), (4, 1)), "VEC3")
    mesh = build.mesh(targets=[{"POSITION": up}, {"NORMAL": up}])
    assert corners(build.file(nodes=[{"mesh": mesh}])) == at((0, 0, 0), (1, 1, 0))
    assert corners(build.file(nodes=[{"mesh": mesh, "weights": [0.5, 1]}])) == at((0, 0, 2), (1, 1, 2))
    build.json["meshes"][mesh]["weights"] = [1, 0]
    assert corners(build.file(nodes=[{"mesh": mesh}])) == at((0, 0, 4), (1, 1, 4))


def test_instances_are_placed():
    build = Builder()
    moved = build.add(np.array([[0, 0, 0], [10, 0, 0]], "<f4"), "VEC3")
    sized = build.add(np.array([[1, 1, 1], [2, 2, 2]], "<f4"), "VEC3")
    turned = build.add(np.array([[0, 0, 0, 127], [0, 0, 90, 90]], "i1"), "VEC4", normalized=True)
    attributes = {"TRANSLATION": moved, "SCALE": sized, "ROTATION": turned}
    node = {"mesh": build.mesh(), "translation": [0, 0, 3]}
    node["extensions"] = {"EXT_mesh_gpu_instancing": {"attributes": attributes}}
    data = build.file(nodes=[node], extensionsRequired=["EXT_mesh_gpu_instancing"])
    points = cloud(data)
    assert np.ravel(box_of(points)) == at((0, 0, 3), (10, 2, 3))
    far = points[points[:, 0] > 5]
    assert np.ravel(box_of(far)) == at((8, 0, 3), (10, 2, 3))
    assert len(far) / len(points) == pytest.approx(0.8, abs=0.02)
    with pytest.raises(MediaTooLarge, match="4 triangles; the limit is 3"):
        cloud(data, limits=Limits(max_faces=3))
    del attributes["SCALE"], attributes["ROTATION"]
    assert np.ravel(box_of(cloud(build.file(nodes=[node])))) == at((0, 0, 3), (11, 1, 3))


@pytest.mark.parametrize(("kind", "scale"), [("i1", 127), ("<i2", 32767), ("u1", 255), ("<u2", 65535)])
def test_quantised_positions_are_read(kind, scale):
    build = Builder()
    whole = build.mesh((SHEET * scale).astype(kind))
    assert corners(build.file(nodes=[{"mesh": whole}])) == pytest.approx(
        [0, 0, 0, scale, scale, 0], abs=0.05 * scale
    )
    build.json["accessors"][-1]["normalized"] = True
    data = build.file(nodes=[{"mesh": whole}], extensionsRequired=["KHR_mesh_quantization"])
    assert corners(data) == at((0, 0, 0), (1, 1, 0))


def test_sparse_positions_are_read():
    build = Builder()
    mesh = build.mesh()
    places = {"bufferView": build.view(np.array([1, 3], "<u2")), "componentType": 5123}
    values = {"bufferView": build.view(np.array([[5, 0, 0], [5, 1, 0]], "<f4"))}
    build.json["accessors"][-1]["sparse"] = {"count": 2, "indices": places, "values": values}
    assert corners(build.file(nodes=[{"mesh": mesh}])) == at((0, 0, 0), (5, 1, 0), 0.2)
    del build.json["accessors"][-1]["bufferView"]
    assert corners(build.file(nodes=[{"mesh": mesh}])) == at((0, 0, 0), (5, 1, 0), 0.2)
    places["bufferView"] = build.view(np.array([1, 4], "<u2"))
    with pytest.raises(InvalidMedia, match="replaces what it does not have"):
        cloud(build.file(nodes=[{"mesh": mesh}]))
    build.json["accessors"][-1]["count"] = 10**12
    tracemalloc.start()
    with pytest.raises(MediaTooLarge, match="1,000,000,000,000 points"):
        cloud(build.file(nodes=[{"mesh": mesh}]))
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


def test_fans_and_hidden_nodes_are_read_as_the_format_says():
    build = Builder()
    ring = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], "<f4")
    mesh = build.mesh(ring, mode=6)
    hidden = {"mesh": mesh, "translation": [50, 0, 0]}
    hidden["extensions"] = {"KHR_node_visibility": {"visible": False}}
    points = cloud(build.file(nodes=[{"mesh": mesh}, hidden]))
    assert np.ravel(box_of(points)) == at((0, 0, 0), (1, 1, 0))
    assert points.mean(axis=0) == pytest.approx([0.5, 0.5, 0], abs=0.02)


def test_every_way_to_keep_a_scene_gives_the_same_points():
    want = cloud(samples.gltf_zip(samples.box()), "a.zip")
    for name in ("a.gltf", "gltf.zip"):
        assert (cloud(samples.file("point_cloud", name), name) == want).all()
    scene, body = samples.gltf(samples.box())
    document = json.loads(scene)
    del document["buffers"][0]["uri"]
    assert (cloud(glb(document, body), "a.glb") == want).all()
    slashes = scene.replace(b"/", b"\\/")
    assert (cloud(slashes, "a.gltf") == want).all()
    assert (cloud(b"\xef\xbb\xbf" + scene, "a.gltf") == want).all()
    last = dict(reversed(json.loads(scene).items()))
    assert (cloud(json.dumps(last, indent=1).encode(), "A.GLTF") == want).all()


def test_a_scene_beside_its_data_is_told_to_bring_it():
    scene, body = samples.gltf(samples.box(), "a.bin")
    with pytest.raises(InvalidMedia, match="keeps its data in another file; send both in one zip"):
        cloud(scene, "a.gltf")
    with pytest.raises(InvalidMedia, match=r"is a zip without a\.bin"):
        cloud(samples.zipped({"a.gltf": scene}), "a.zip")
    for outside in (
        "../../../../etc/passwd",
        "/etc/passwd",
        "file:///etc/passwd",
        "http://127.0.0.1:9/a.bin",
    ):
        scene, _ = samples.gltf(samples.box(), outside)
        with pytest.raises(InvalidMedia, match="is a zip without"):
            cloud(samples.zipped({"a.gltf": scene, "a.bin": body}), "a.zip")
    with pytest.raises(InvalidMedia, match="is a zip with 2 gltf files"):
        cloud(samples.zipped({"a.gltf": scene, "b.gltf": scene}), "a.zip")


def test_zips_are_held_to_the_limits():
    scene, _ = samples.gltf(samples.box(), "a.bin")
    bomb = samples.zipped({"a.gltf": scene, "a.bin": bytes(50_000_000)})
    assert len(bomb) < 100_000
    tracemalloc.start()
    with pytest.raises(MediaTooLarge, match="bytes in its zip; the limit is 1,000,000"):
        cloud(bomb, limits=Limits(max_bytes=1_000_000))
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()
    for compression in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        with pytest.raises(UnsupportedMedia, match="a zip with a compression that is not read"):
            cloud(samples.zipped({"a.gltf": scene, "a.bin": bytes(9)}, compression), "a.zip")
    many = samples.zipped({f"{i}.bin": b"" for i in range(10_001)} | {"a.gltf": scene})
    with pytest.raises((MediaTooLarge, UnsupportedMedia)):
        cloud(many, "a.zip")


def test_a_zip_may_have_folders_and_names_of_any_kind():
    scene, body = samples.gltf(samples.box(), "a.bin")
    data = samples.zipped({"b/": b"", "n": b"", "b/a.gltf": scene, "b/a.bin": body})
    assert len(cloud(data, "a.zip")) == SURFACE_POINTS
    for place in range(len(data)):
        broken = bytearray(data)
        broken[place] ^= 0x81
        try:
            cloud(bytes(broken), "a.zip")
        except MediaError as error:
            assert error.message.startswith("a.zip")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b'{"asset": {"version": "2.0"}, "nodes": [', "its JSON cannot be read"),
        (b'{"asset": {"version": "2.0"}}', "has no meshes in its scene"),
        (b'{"asset": {"version": "2.0"}, "nodes": 7}', "cannot be read as a gltf scene"),
        (b'{"asset": {"version": "2.0"}, "nodes": ' + b"[" * 100_000, "its JSON cannot be read"),
    ],
)
def test_a_damaged_gltf_is_invalid_and_says_so(text, reason):
    with pytest.raises(InvalidMedia, match=reason):
        cloud(text, "a.gltf")


def test_a_scene_is_read_as_trimesh_reads_it():
    """The corners of every part, from a scene of nodes inside nodes."""
    scene, parent = trimesh.Scene(), None
    shapes = itertools.cycle((samples.box(), trimesh.creation.icosphere(1)))
    for number, shape in zip(range(6), shapes, strict=False):
        matrix = trimesh.transformations.compose_matrix(
            scale=(1 + number / 9, 1, 0.9),
            angles=(number / 3, 0.2, 0.1),
            translate=(number, 2 * number, -number),
        )
        scene.add_geometry(shape, node_name=f"{number}", parent_node_name=parent, transform=matrix)
        parent = f"{number}" if number % 2 else parent
    data = samples.mesh_file(scene, "glb")
    assert cloud(data).min(axis=0) == pytest.approx(scene.to_mesh().bounds[0], abs=0.05)
    assert cloud(data).max(axis=0) == pytest.approx(scene.to_mesh().bounds[1], abs=0.05)

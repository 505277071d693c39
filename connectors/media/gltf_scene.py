"""The scene of a glTF document: every mesh of it, put where its nodes put it.

Meshes are taken in the pose in which the file has them: weights of morph targets and the joints of skins are
applied, animations are not. A node with a skin has no place of its own (glTF 2.0, 3.7.3.3), and a node with
instances (EXT_mesh_gpu_instancing) has many. What a scene requires and is not read here is refused by name.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from trimesh import transformations

from connectors.media.geometry import Geometry, Triangles, Vertices, no_triangles
from connectors.media.gltf_document import Document, Json

Matrices = npt.NDArray[np.float64]

MOST_NODES = 20_000
"""Nodes of a scene, and one more for every primitive each time it is placed."""

DEEPEST = 100
"""Nodes inside one another."""

MOST_INSTANCES = 1_000_000
"""Places of one node, at 128 bytes each."""

CHUNK = 1 << 16
"""Points bent by a skin at a time: each takes four matrices."""

POINTS, TRIANGLES, STRIP, FAN = 0, 4, 5, 6
LINES = (1, 2, 3)

INSTANCING = "EXT_mesh_gpu_instancing"
VISIBILITY = "KHR_node_visibility"
DRACO = "KHR_draco_mesh_compression"
UNDERSTOOD = {INSTANCING, VISIBILITY, "KHR_mesh_quantization"}
HARMLESS = (
    "KHR_materials_", "KHR_texture_", "EXT_texture_", "MSFT_texture_", "KHR_lights_", "EXT_lights_",
    "KHR_xmp", "KHR_animation_", "KHR_audio_", "KHR_techniques_webgl",
)  # fmt: skip
"""Beginnings of the names of extensions that change the looks of a mesh, and not its shape."""


def read_scene(document: Document) -> Geometry:
    """Return the triangles of the default scene; a scene of points, or of lines, is a cloud."""
    _check_version(document)
    scene = _Scene(document)
    scene.walk()
    vertices: list[Vertices] = []
    triangles: list[Triangles] = []
    count = 0
    for points, faces in scene.parts():
        vertices.append(points)
        triangles.append(faces + count)
        count += len(points)
    if not vertices:
        raise document.source.invalid("has no meshes in its scene")
    return Geometry(np.concatenate(vertices), np.concatenate(triangles))


def _check_version(document: Document) -> None:
    """Raise `UnsupportedMedia`, with its name, for a version or an extension that a scene needs."""
    version = str(document.json.get("asset", {}).get("version", "2.0"))
    if not version.startswith("2."):
        raise document.source.unsupported(f"is glTF {version[:20]}, which is not read; save it as glTF 2")
    for name in document.json.get("extensionsRequired", []):
        if name == DRACO:
            raise document.source.unsupported("is compressed with Draco, which is not read; save it without")
        if "meshopt" in name:
            raise document.source.unsupported(
                "is compressed with meshopt, which is not read; save it without"
            )
        if name not in UNDERSTOOD and not name.startswith(HARMLESS):
            raise document.source.unsupported(f"needs the glTF extension {name[:80]}, which is not read")


@dataclass(slots=True)
class _Scene:
    """The places of a scene's nodes, and what they place there."""

    document: Document
    world: dict[int, Matrices] = field(default_factory=dict)
    """The matrix of each node."""
    order: list[int] = field(default_factory=list)
    """The nodes, those inside before those around them, the last first, as meshes have always been joined:
    which points are drawn depends on it."""

    def walk(self) -> None:
        """Find every node's place. They have to be a tree (glTF 2.0, 3.5.2), which bounds this."""
        json, source = self.document.json, self.document.source
        if "scenes" in json:
            roots = self.document.item("scenes", json.get("scene", 0)).get("nodes", [])
        else:
            nodes = json.get("nodes", [])
            below = {child for node in nodes for child in node.get("children", [])}
            roots = [i for i in range(len(nodes)) if i not in below]
        waiting: list[tuple[int, Matrices | None, int]] = [(root, np.eye(4), 1) for root in roots]
        while waiting:
            number, around, depth = waiting.pop()
            if around is None:  # all that is inside it is done
                self.order.append(number)
                continue
            node = self.document.item("nodes", number)
            if number in self.world:
                raise source.invalid(f"is damaged: its node {number} has two places in the scene")
            if depth > DEEPEST:
                raise source.too_large(f"more than {DEEPEST} nodes inside one another", f"{DEEPEST}")
            if len(self.world) >= MOST_NODES:
                raise source.too_large("too many nodes and meshes in its scene", f"{MOST_NODES:,}")
            if node.get("extensions", {}).get(VISIBILITY, {}).get("visible", True) is False:
                continue
            self.world[number] = around @ _local(node)
            waiting.append((number, None, depth))
            waiting.extend((child, self.world[number], depth + 1) for child in node.get("children", []))

    def parts(self) -> Iterator[tuple[Vertices, Triangles]]:
        """Yield points and their triangles for each primitive that a node places, within the limits."""
        source = self.document.source
        placed, points, faces = len(self.order), 0, 0
        for number in self.order:
            node = self.document.item("nodes", number)
            if "mesh" not in node:
                continue
            mesh = self.document.item("meshes", node["mesh"])
            instances = self._instances(node)
            for primitive in reversed(mesh["primitives"]):
                placed += 1
                if placed > MOST_NODES:
                    raise source.too_large("too many nodes and meshes in its scene", f"{MOST_NODES:,}")
                times = 1 if instances is None else len(instances)
                vertices, triangles = self._size(primitive)
                points, faces = points + times * vertices, faces + times * triangles
                source.check_points(points)
                source.check_faces(faces)
                yield self._placed(number, primitive, mesh, instances)

    def _size(self, primitive: Json) -> tuple[int, int]:
        """Return the numbers of points and triangles of a primitive, before anything is read."""
        position = primitive["attributes"]["POSITION"]
        accessor = self.document.item("accessors", position)
        if DRACO in primitive.get("extensions", {}) and "bufferView" not in accessor:
            raise self.document.source.unsupported(
                "is compressed with Draco, which is not read; save it without"
            )
        vertices = corners = self.document.count(position)
        if "indices" in primitive:
            corners = self.document.count(primitive["indices"])
        mode, bent = primitive.get("mode", TRIANGLES), max(corners - 2, 0)
        return vertices, {TRIANGLES: corners // 3, STRIP: bent, FAN: bent}.get(mode, 0)

    def _placed(
        self, number: int, primitive: Json, mesh: Json, instances: Matrices | None
    ) -> tuple[Vertices, Triangles]:
        node = self.document.item("nodes", number)
        points = self._points(primitive, node.get("weights") or mesh.get("weights") or [])
        triangles = self._triangles(primitive, len(points))
        if "skin" in node:
            return self._bent(points, primitive, self.document.item("skins", node["skin"])), triangles
        if instances is None:
            return transformations.transform_points(points, self.world[number]), triangles
        matrices = self.world[number] @ instances
        moved = np.einsum("iab,vb->iva", matrices[:, :3, :3], points) + matrices[:, None, :3, 3]
        first = len(points) * np.arange(len(matrices))
        return moved.reshape(-1, 3), (first[:, None, None] + triangles).reshape(-1, 3)

    def _points(self, primitive: Json, weights: list[float]) -> Vertices:
        """Return a primitive's points, moved towards its morph targets by their weights."""
        points = self.document.array(primitive["attributes"]["POSITION"], "VEC3").astype(np.float64)
        for target, weight in zip(primitive.get("targets", []), weights, strict=False):
            if weight and "POSITION" in target:
                if self.document.count(target["POSITION"]) != len(points):
                    raise self.document.source.invalid(
                        "is damaged: a morph target has other points than its mesh"
                    )
                points += weight * self.document.array(target["POSITION"], "VEC3")
        return points

    def _triangles(self, primitive: Json, count: int) -> Triangles:
        mode = primitive.get("mode", TRIANGLES)
        if mode == POINTS or mode in LINES:
            return no_triangles()
        corners: Triangles = np.arange(count)
        if "indices" in primitive:
            corners = self.document.array(primitive["indices"], "SCALAR")[:, 0].astype(np.int64)
        if len(corners) and (corners.min() < 0 or corners.max() >= count):
            raise self.document.source.invalid("is damaged: a triangle has a corner that is not in its mesh")
        if mode == TRIANGLES:
            if len(corners) % 3:
                raise self.document.source.invalid(f"is damaged: {len(corners):,} corners are no triangles")
            return corners.reshape(-1, 3)
        if mode == STRIP:
            strip: Triangles = np.stack((corners[:-2], corners[1:-1], corners[2:]), axis=1)
            strip[1::2] = strip[1::2, ::-1]
            return strip
        if mode == FAN:
            return np.stack(
                (np.broadcast_to(corners[:1], len(corners[2:])), corners[1:-1], corners[2:]), axis=1
            )
        raise self.document.source.invalid(f"is damaged: it has primitives of the unknown mode {mode}")

    def _instances(self, node: Json) -> Matrices | None:
        """Return the matrices [I, 4, 4] at which a node repeats its mesh, None if it does not."""
        extension = node.get("extensions", {}).get(INSTANCING)
        if extension is None:
            return None
        attributes: Json = extension["attributes"]
        counts = {self.document.count(number) for number in attributes.values()}
        if len(counts) != 1:
            raise self.document.source.invalid("is damaged: its instances differ in number")
        (count,) = counts
        if count > MOST_INSTANCES:
            raise self.document.source.too_large(f"{count:,} instances of a mesh", f"{MOST_INSTANCES:,}")
        matrices = np.broadcast_to(np.eye(4), (count, 4, 4)).copy()
        if "ROTATION" in attributes:
            turns = self.document.array(attributes["ROTATION"], "VEC4").astype(np.float64)
            matrices = _turn(turns[:, [3, 0, 1, 2]]).reshape(-1, 4, 4)
        if "SCALE" in attributes:
            matrices[:, :3, :3] *= self.document.array(attributes["SCALE"], "VEC3")[:, None]
        if "TRANSLATION" in attributes:
            matrices[:, :3, 3] = self.document.array(attributes["TRANSLATION"], "VEC3")
        return matrices

    def _bent(self, points: Vertices, primitive: Json, skin: Json) -> Vertices:
        """Return points as the joints of a skin place them."""
        attributes = primitive["attributes"]
        joints: list[npt.NDArray[Any]] = []
        weights: list[npt.NDArray[Any]] = []
        while f"JOINTS_{len(joints)}" in attributes:
            number = len(joints)
            joints.append(self.document.array(attributes[f"JOINTS_{number}"], "VEC4"))
            weights.append(self.document.array(attributes[f"WEIGHTS_{number}"], "VEC4"))
        if not joints:
            return points
        matrices = self._joints(skin)
        out = points.copy()
        for start in range(0, len(points), CHUNK):
            part = slice(start, start + CHUNK)
            flat = np.column_stack((points[part], np.ones(len(points[part]))))
            which = np.hstack([j[part] for j in joints]).astype(np.int64)
            share = np.hstack([w[part] for w in weights]).astype(np.float64)
            total = share.sum(axis=1)
            if which.max(initial=0, where=share > 0) >= len(matrices):
                raise self.document.source.invalid(
                    "is damaged: a point hangs on a joint that its skin does not have"
                )
            which[share <= 0] = 0
            moved = sum(
                share[:, k, None] * np.einsum("nab,nb->na", matrices[which[:, k]], flat)[:, :3]
                for k in range(which.shape[1])
            )
            held = total > 0  # what hangs on nothing stays
            out[part][held] = (moved / np.where(held, total, 1)[:, None])[held]
        return out

    def _joints(self, skin: Json) -> Matrices:
        """Return what each joint of a skin does to a point in its mesh: [J, 4, 4]."""
        joints = skin["joints"]
        if missing := [joint for joint in joints if joint not in self.world]:
            raise self.document.source.invalid(f"is damaged: its joint {missing[0]} is not in the scene")
        matrices = np.stack([self.world[joint] for joint in joints])
        if "inverseBindMatrices" not in skin:
            return matrices
        inverse: npt.NDArray[Any] = self.document.array(skin["inverseBindMatrices"], "MAT4")
        if len(inverse) < len(joints):
            raise self.document.source.invalid("is damaged: its skin has fewer matrices than joints")
        return matrices @ inverse[: len(joints)].astype(np.float64).reshape(-1, 4, 4).transpose(0, 2, 1)


def _turn(quaternions: npt.NDArray[Any]) -> Matrices:
    """Return the matrices of quaternions w x y z."""
    found: Matrices = transformations.quaternion_matrix(quaternions)  # type: ignore[no-untyped-call]
    return found


def _local(node: Json) -> Matrices:
    """Return where a node is inside the one around it."""
    matrix = np.eye(4)
    if "matrix" in node:
        matrix = np.array(node["matrix"], np.float64).reshape(4, 4).T
    if "translation" in node:
        matrix = np.dot(matrix, transformations.translation_matrix(node["translation"]))  # type: ignore[no-untyped-call]
    if "rotation" in node:
        matrix = np.dot(matrix, _turn(np.reshape(node["rotation"], 4)[[3, 0, 1, 2]]))
    if "scale" in node:
        matrix = np.dot(matrix, np.diag(np.concatenate((node["scale"], [1.0]))))
    return matrix

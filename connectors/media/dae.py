"""COLLADA scenes (dae): every mesh of the scene, put where its nodes put it.

Given a `Source`, back comes one `Geometry`, in the file's own unit and axes. Textures, lights and animations
are passed over; a skinned mesh is in the pose in which it was bound; splines, and what is in other files, is
not read. Format: Khronos, "COLLADA 1.5", chapters 5 and 10.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from xml.etree.ElementTree import Element, TreeBuilder

import numpy as np
import numpy.typing as npt
from trimesh import transformations

from connectors.media.geometry import Geometry, Triangles, Vertices, no_triangles
from connectors.media.gltf_scene import DEEPEST, MOST_NODES
from connectors.media.markup import parse
from connectors.media.polygons import Polygons
from connectors.media.source import Source

Matrix = npt.NDArray[np.float64]
Mesh = tuple[Vertices, Triangles]

FACES = {"triangles", "polylist", "polygons", "tristrips", "trifans"}


def read_dae(source: Source) -> Geometry:
    """The triangles of the scene."""
    source.check_mesh_text()
    tree = _Tree()
    parse(source, source.data, tree)
    scene = _Scene(source, tree.close())
    vertices: list[Vertices] = []
    triangles: list[Triangles] = []
    points = faces = 0
    for (mesh, corners), matrix in scene.meshes():
        source.check_points(points + len(mesh))
        source.check_faces(faces + len(corners))
        vertices.append(transformations.transform_points(mesh, matrix))
        triangles.append(corners + points)
        points, faces = points + len(mesh), faces + len(corners)
    if not vertices:
        raise source.invalid("has no meshes in its scene")
    return Geometry(np.concatenate(vertices), np.concatenate(triangles))


class _Tree:
    """Builds a tree of elements whose names are without their namespace."""

    def __init__(self) -> None:
        self._builder = TreeBuilder()

    def start(self, tag: str, attrs: dict[str, str], /) -> None:
        self._builder.start(tag.rpartition("}")[2], attrs)

    def end(self, tag: str, /) -> None:
        self._builder.end(tag.rpartition("}")[2])

    def data(self, data: str, /) -> None:
        self._builder.data(data)

    def close(self) -> Element:
        return self._builder.close()


@dataclass(slots=True)
class _Scene:
    """A document: its elements by their ids, and the meshes that were read."""

    source: Source
    root: Element
    ids: dict[str, Element] = field(init=False)
    read: dict[str, Mesh] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ids = {element.attrib["id"]: element for element in self.root.iter() if "id" in element.attrib}

    def meshes(self) -> Iterator[tuple[Mesh, Matrix]]:
        """Yield each mesh as often as a node of the scene places it, and where."""
        chosen = self.root.find("scene/instance_visual_scene")
        visual = (
            self.root.find("library_visual_scenes/visual_scene") if chosen is None else self._named(chosen)
        )
        waiting = (
            [(node, np.eye(4), 1) for node in reversed(visual.findall("node"))] if visual is not None else []
        )
        count = 0
        while waiting:
            node, matrix, depth = waiting.pop()
            count += 1
            if count > MOST_NODES:
                raise self.source.too_large("too many nodes and meshes in its scene", f"{MOST_NODES:,}")
            if depth > DEEPEST:
                raise self.source.too_large(f"more than {DEEPEST} nodes inside one another", f"{DEEPEST}")
            for element in node:
                match element.tag:
                    case "matrix" | "translate" | "rotate" | "scale" | "lookat" | "skew":
                        matrix = matrix @ self._transform(element)
                    case "instance_geometry":
                        yield from ((mesh, matrix) for mesh in self._mesh(self._named(element)))
                        count += 1
                    case "instance_controller":
                        yield from self._bound(self._named(element))
                        count += 1
            inner = [child for child in node if child.tag in ("node", "instance_node")]
            waiting.extend(
                (child if child.tag == "node" else self._named(child), matrix, depth + 1)
                for child in reversed(inner)
            )

    def _named(self, element: Element, attribute: str = "url") -> Element:
        """Return the element that another refers to."""
        url = element.attrib[attribute]
        if not url.startswith("#"):
            raise self.source.invalid("keeps its data in another file; export it as one")
        found = self.ids.get(url[1:])
        if found is None:
            raise self.source.invalid(f"is damaged: it refers to {url[:80]}, which is missing")
        return found

    def _bound(self, controller: Element) -> Iterator[tuple[Mesh, Matrix]]:
        """Yield the mesh of a skin, as it was bound to its joints: then they do not move it."""
        skin = controller.find("skin")
        if skin is None:
            raise self.source.unsupported("is morphed, which is not read; export it without")
        bind = skin.find("bind_shape_matrix")
        matrix = np.eye(4) if bind is None else self._numbers(bind, 16).reshape(4, 4)
        yield from ((mesh, matrix) for mesh in self._mesh(self._named(skin, "source")))

    def _transform(self, element: Element) -> Matrix:
        """Return the matrix of one step of a node's place."""
        match element.tag:
            case "matrix":
                return self._numbers(element, 16).reshape(4, 4)
            case "translate":
                matrix: Matrix = np.eye(4)
                matrix[:3, 3] = self._numbers(element, 3)
                return matrix
            case "rotate":
                x, y, z, degrees = self._numbers(element, 4)
                turn = transformations.rotation_matrix(np.radians(degrees), (x, y, z))  # type: ignore[no-untyped-call]
                return np.asarray(turn, np.float64)
            case "scale":
                return np.diag([*self._numbers(element, 3), 1.0])
        raise self.source.unsupported(f"places its nodes by {element.tag}, which is not read")

    def _mesh(self, geometry: Element) -> Iterator[Mesh]:
        """Yield what a geometry holds: one mesh, or none if it is only lines."""
        mesh = geometry.find("mesh")
        if mesh is None:
            raise self.source.unsupported("has splines or hulls, which are not read; export it as a mesh")
        key = geometry.get("id", "")
        if key not in self.read:
            self.read[key] = self._triangles(mesh)
        if len(self.read[key][1]):
            yield self.read[key]

    def _triangles(self, mesh: Element) -> Mesh:
        """Return the points and triangles of a mesh, whose lists of faces, one a material, share points."""
        parts: dict[str, tuple[Vertices, int]] = {}
        triangles = [no_triangles()]
        count = 0
        for element in mesh:
            if element.tag not in FACES:
                continue
            inputs = element.findall("input")
            vertex = next(entry for entry in inputs if entry.get("semantic") == "VERTEX")
            positions = self._named(vertex, "source").find("input[@semantic='POSITION']")
            if positions is None:
                raise self.source.invalid("is damaged: its vertices have no positions")
            key = positions.attrib["source"]
            if key not in parts:
                parts[key] = self._points(self._named(positions, "source")), count
                count += len(parts[key][0])
                self.source.check_points(count)
            points, first = parts[key]
            width = 1 + max(int(entry.get("offset", "0")) for entry in inputs)
            polygons = self._polygons(element, len(points), width, int(vertex.get("offset", "0")))
            triangles.append(polygons.triangles(points) + first)
        points = np.concatenate([part for part, _ in parts.values()]) if parts else np.zeros((0, 3))
        return points, np.concatenate(triangles)

    def _polygons(self, element: Element, count: int, width: int, offset: int) -> Polygons:
        """Return the polygons of one list of faces, which may refer to `count` points."""
        if element.find("ph") is not None:
            raise self.source.unsupported("has polygons with holes, which are not read; export triangles")
        polygons = Polygons(self.source)
        lists = [self._corners(p, width)[:, offset].tolist() for p in element.findall("p")]
        if element.tag in ("triangles", "polylist"):
            lists = self._split(element, lists[0] if lists else [])
        for corners in lists:
            if max(corners, default=-1) >= count or min(corners, default=0) < 0:
                raise self.source.invalid("has a face with a corner that is not in the file")
            if element.tag == "tristrips":
                for i in range(len(corners) - 2):
                    polygons.add(corners[i : i + 3])
            elif element.tag == "trifans":
                for i in range(1, len(corners) - 1):
                    polygons.add((corners[0], corners[i], corners[i + 1]))
            else:
                polygons.add(corners)
        return polygons

    def _split(self, element: Element, corners: list[int]) -> list[list[int]]:
        """Return a row of corners as the polygons that it is made of."""
        sizes = [3] * (len(corners) // 3)
        if element.tag == "polylist":
            sizes = [int(word) for word in (element.findtext("vcount") or "").split()]
        if sum(sizes) != len(corners) or min(sizes, default=0) < 0:
            raise self.source.invalid("is cut off or damaged: its faces have other corners than it says")
        rest = iter(corners)
        return [list(islice(rest, size)) for size in sizes]

    def _points(self, element: Element) -> Vertices:
        """Return the points of a source of numbers, as its accessor says where they are."""
        numbers, accessor = element.find("float_array"), element.find("technique_common/accessor")
        if numbers is None or accessor is None:
            raise self.source.invalid("is damaged: its positions are no numbers")
        values = self._numbers(numbers)
        count, stride = int(accessor.attrib["count"]), int(accessor.get("stride", "1"))
        start = int(accessor.get("offset", "0"))
        if min(start, count, stride - 3) < 0 or start + count * stride > len(values):
            raise self.source.invalid("is cut off or damaged: its positions are fewer than it says")
        names = [param.get("name") for param in accessor.findall("param")]
        columns = [names.index(axis) if axis in names else i for i, axis in enumerate("XYZ")]
        return values[start : start + count * stride].reshape(count, stride)[:, columns]

    def _corners(self, element: Element, width: int) -> npt.NDArray[np.int64]:
        words = (element.text or "").split()
        if len(words) % width:
            raise self.source.invalid("is cut off or damaged: its faces have other corners than it says")
        return np.array(words, np.int64).reshape(-1, width)

    def _numbers(self, element: Element, count: int | None = None) -> npt.NDArray[np.float64]:
        words = (element.text or "").split()
        try:
            values = np.array(words, np.float64)
        except ValueError as error:
            raise self.source.invalid("is damaged: it has words where numbers should be") from error
        if count is not None and len(values) != count:
            raise self.source.invalid(f"is damaged: a {element.tag} has {len(values)} numbers, not {count}")
        return values

"""3D Manufacturing Format (3mf): a zip of XML, with the parts of a print and where they are on its plate.

Given a `Source`, back comes one `Geometry` of all that is to be printed, in the file's own unit. Read are
meshes and components, also in parts of their own (production extension); what a file requires beyond that
and materials is refused by name. Format: 3MF Consortium, "3MF Core Specification" 1.3.
"""

from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from connectors.media.archive import Archive
from connectors.media.geometry import Geometry, Triangles, Vertices
from connectors.media.gltf_scene import DEEPEST, MOST_NODES
from connectors.media.markup import parse
from connectors.media.source import Source

CORE = "http://schemas.microsoft.com/3dmanufacturing/core/"
PRODUCTION = "http://schemas.microsoft.com/3dmanufacturing/production/"
READ = (PRODUCTION, "http://schemas.microsoft.com/3dmanufacturing/material/", CORE)
"""Beginnings of the namespaces of extensions that a file may require."""

IDENTITY = np.eye(4, 3)
ROOT = "3d/3dmodel.model"
Matrix = npt.NDArray[np.float64]
"""[4, 3]: rows of numbers x y z 1 are multiplied by it."""


@dataclass(slots=True)
class Part:
    """An object: a mesh of its own, or other objects put together."""

    coordinates: "array[float]" = field(default_factory=lambda: array("d"))
    corners: "array[int]" = field(default_factory=lambda: array("q"))
    components: list["Place"] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Place:
    """A place of an object; `path` is the part of the zip that has it, None for the same."""

    path: str | None
    number: str
    matrix: Matrix


@dataclass(slots=True)
class Model:
    """One part of XML: what `parse` tells of it."""

    source: Source
    parts: dict[str, Part] = field(default_factory=dict)
    items: list[Place] = field(default_factory=list)
    prefixes: dict[str, str] = field(default_factory=dict)
    _part: Part = field(default_factory=Part)

    def start(self, tag: str, attrs: dict[str, str], /) -> None:
        """Take in an element that says something of shapes."""
        if not tag.startswith(CORE):
            return
        match tag.rpartition("}")[2]:
            case "vertex":
                self._part.coordinates.extend((float(attrs["x"]), float(attrs["y"]), float(attrs["z"])))
                self.source.check_points(len(self._part.coordinates) // 3)
            case "triangle":
                self._part.corners.extend((int(attrs["v1"]), int(attrs["v2"]), int(attrs["v3"])))
                self.source.check_faces(len(self._part.corners) // 3)
            case "object":
                self._part = self.parts[attrs["id"]] = Part()
            case "component":
                self._part.components.append(_place(attrs))
            case "item":
                self.items.append(_place(attrs))
            case "model":
                self._check(attrs.get("requiredextensions", ""))

    def end(self, tag: str, /) -> None:
        """Pass over the end of an element."""

    def data(self, data: str, /) -> None:
        """Pass over text: there is none that says something of shapes."""

    def declare(self, prefix: str, uri: str) -> None:
        """Take in what a prefix stands for."""
        self.prefixes[prefix] = uri

    def _check(self, required: str) -> None:
        for prefix in required.split():
            uri = self.prefixes.get(prefix, prefix)
            if not uri.startswith(READ):
                raise self.source.unsupported(f"needs the 3MF extension {uri[:100]}, which is not read")


def read_3mf(source: Source) -> Geometry:
    """The triangles of everything that the file's build places."""
    archive = Archive(source)
    names = {name.lower(): name for name in archive.members}
    models: dict[str, Model] = {}

    def model(path: str) -> Model:
        key = path.strip("/").lower()
        if key not in models:
            name = names.get(key, path)
            size = archive.members[name].file_size if name in archive.members else 0
            if size > source.limits.max_mesh_text:
                raise source.too_large(f"{size:,} bytes of text", f"{source.limits.max_mesh_text:,}")
            models[key] = Model(source)
            parse(source, archive.read(name), models[key], models[key].declare)
        return models[key]

    root = ROOT if ROOT in names else next(n for n in names if n.startswith("3d/") and n.endswith(".model"))
    vertices: list[Vertices] = []
    triangles: list[Triangles] = []
    points = faces = 0
    for part, matrix in _placed(source, model, root):
        corners = np.frombuffer(part.corners, np.int64).reshape(-1, 3) if part.corners else None
        if corners is None:
            continue
        mesh = np.frombuffer(part.coordinates, np.float64).reshape(-1, 3) if part.coordinates else None
        if mesh is None or corners.min() < 0 or corners.max() >= len(mesh):
            raise source.invalid("is damaged: a triangle has a corner that is not in its mesh")
        source.check_points(points + len(mesh))
        source.check_faces(faces + len(corners))
        vertices.append(mesh @ matrix[:3] + matrix[3])
        triangles.append(corners + points)
        points, faces = points + len(mesh), faces + len(corners)
    if not vertices:
        raise source.invalid("has no meshes in its build")
    return Geometry(np.concatenate(vertices), np.concatenate(triangles))


def _placed(source: Source, model: Callable[[str], Model], root: str) -> Iterator[tuple[Part, Matrix]]:
    """Yield each object as often as the build places it, by itself or inside others."""
    waiting = [(item, root, IDENTITY, 1) for item in reversed(model(root).items)]
    count = 0
    while waiting:
        place, around, outer, depth = waiting.pop()
        count += 1
        if count > MOST_NODES:
            raise source.too_large("too many objects in its build", f"{MOST_NODES:,}")
        if depth > DEEPEST:
            raise source.too_large(f"more than {DEEPEST} objects inside one another", f"{DEEPEST}")
        path = place.path or around
        part = model(path).parts.get(place.number)
        if part is None:
            raise source.invalid(f"is damaged: its object {place.number[:20]} is missing")
        matrix = place.matrix @ outer[:3]
        matrix[3] += outer[3]
        yield part, matrix
        waiting.extend((inner, path, matrix, depth + 1) for inner in reversed(part.components))


def _place(attributes: dict[str, str]) -> Place:
    path = next((v for k, v in attributes.items() if k.startswith(PRODUCTION) and k.endswith("}path")), None)
    matrix = IDENTITY
    if "transform" in attributes:
        matrix = np.array(attributes["transform"].split(), np.float64).reshape(4, 3)
    return Place(path, attributes["objectid"], matrix)

"""Meshes in the plain formats: off, obj and stl.

Each reader is given a `Source` and gives back a `Geometry`. trimesh reads the files, after counts and
lengths were held against what is there, and after the rows were put as plainly as the format allows: what
trimesh misreads without a word (docs/media.md) never reaches it.
"""

import re
from io import BytesIO, StringIO
from itertools import islice

import numpy as np
import trimesh

from connectors.media.geometry import Geometry, no_triangles
from connectors.media.source import Source
from connectors.media.table import lines

OFF_HEADER = re.compile(r"(?:ST)?C?N?OFF\s*(\d+)\s+(\d+)(?:\s+\d+)?\s*\n")
STL_TRIANGLE_BYTES = 50
STL_SOLID = re.compile(rb"^[ \t]*(?:end)?solid\b.*$", re.MULTILINE | re.IGNORECASE)


def read_off(source: Source) -> Geometry:
    """An Object File Format mesh, also with colours or normals (COFF, NOFF), which are left out.

    The counts may follow the keyword on its own line, as in part of ModelNet.
    Source: Geomview manual, "OFF Files".
    """
    source.check_mesh_text()
    # trimesh repeats what is before the first comment.
    rows = [row for line in lines(source, source.data) if (row := line.partition("#")[0].strip())]
    header = OFF_HEADER.match("\n".join(rows[:2]) + "\n")
    if header is None:
        raise source.invalid("is damaged or cut off: its counts are missing")
    vertices, faces = int(header[1]), int(header[2])
    body = rows[header[0].count("\n") :]
    if len(body) < vertices + faces:
        raise source.invalid(
            f"is cut off: it declares {vertices:,} vertices and {faces:,} faces and has {len(body):,} rows"
        )
    source.check_points(vertices)
    source.check_faces(faces)
    for row in islice(body, vertices, vertices + faces):
        # trimesh drops such a face, or makes a triangle of what is there of a square.
        if len(cells := row.split()) <= int(cells[0]):
            raise source.invalid("is damaged: a face has fewer corners than it says")
    text = "\n".join(("OFF", f"{vertices} {faces} 0", *islice(body, vertices + faces)))
    return _geometry(trimesh.load_mesh(StringIO(text), file_type="off", process=False))


def read_obj(source: Source) -> Geometry:
    """A Wavefront mesh: its `v` and `f` lines; everything else, `mtllib` too, is passed over.

    Corners count from 1, or backwards from the latest vertex when negative. Without faces the
    vertices are a cloud. Source: Wavefront, "Object Files (.obj)", appendix B1.
    """
    source.check_mesh_text()
    rows: list[str] = []
    vertices = triangles = highest = 0
    for line in lines(source, source.data.replace(b"\\\r\n", b" ").replace(b"\\\n", b" ")):
        match line.partition("#")[0].split():
            case ["v", *cells]:
                vertices += 1
                source.check_points(vertices)
                x, y, z = map(float, cells[:3])
                rows.append(f"v {x} {y} {z}")
            case ["f", *cells]:
                corners = [int(cell.partition("/")[0]) for cell in cells]
                corners = [c if c >= 0 else vertices + 1 + c for c in corners]
                if len(corners) < 3:
                    continue
                triangles += len(corners) - 2
                source.check_faces(triangles)
                highest = max(highest, *corners)
                if min(corners) < 1:
                    raise source.invalid("has a face with a corner that is not in the file")
                rows.append("f " + " ".join(map(str, corners)))
    if highest > vertices:
        raise source.invalid("has a face with a corner that is not in the file")
    if not vertices:
        raise source.invalid("has no vertices")
    scene = trimesh.load_scene(StringIO("\n".join(rows)), file_type="obj", process=False, maintain_order=True)
    (geometry,) = scene.geometry.values()
    return _geometry(geometry)


def read_stl(source: Source) -> Geometry:
    """A stereolithography mesh, ascii or binary; three vertices of its own for each triangle."""
    data = source.data
    count = int.from_bytes(data[80:84], "little")
    # Binary files may begin with "solid" too; only their length tells them for sure.
    if len(data) < 84 or len(data) != 84 + count * STL_TRIANGLE_BYTES:
        if data.lstrip()[:5].lower() != b"solid":
            raise source.invalid(f"is cut off or damaged: {count:,} triangles declared")
        if b"endsolid" not in data[-4096:]:
            raise source.invalid("is cut off: its endsolid line is missing")
        source.check_mesh_text()
        # One solid without a name: trimesh takes "vertex" in a name for one, and a part for each solid.
        data = b"solid\n" + STL_SOLID.sub(b"", data).strip() + b"\nendsolid\n"
        count = data.count(b"vertex") // 3
    source.check_faces(count)
    source.check_points(3 * count)
    geometry = _geometry(trimesh.load_mesh(BytesIO(data), file_type="stl", process=False))
    if len(geometry.triangles) != count:  # it stops where a number cannot be read
        raise source.invalid(f"is damaged: {len(geometry.triangles):,} of {count:,} triangles can be read")
    return geometry


def _geometry(mesh: trimesh.Trimesh | trimesh.PointCloud) -> Geometry:
    faces = getattr(mesh, "faces", no_triangles())
    return Geometry(np.asarray(mesh.vertices, np.float64), np.asarray(faces, np.int64).reshape(-1, 3))

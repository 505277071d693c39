"""Meshes in the plain formats: off, obj and stl.

Each reader is given a `Source` and gives back a `Geometry`. trimesh reads off and stl, after counts
and lengths were held against the file. The obj reader is this project's own: of the same file
trimesh 5.2 takes negative corners from the end of the file instead of the line they stand on,
misreads faces whose corners are written in unlike forms, finds nothing behind tabs, and copies all
vertices for each `usemtl` (1.5 GB from 2.5 MB); undoing that takes reading every line.
"""

import re
from io import BytesIO, StringIO
from itertools import islice

import numpy as np
import trimesh

from connectors.media.geometry import Geometry, fans
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
    vertices: list[tuple[float, float, float]] = []
    polygons: list[list[int]] = []
    for line in lines(source, source.data.replace(b"\\\n", b" ")):
        match line.split(maxsplit=1):
            case ["v", rest]:
                x, y, z = rest.split()[:3]
                vertices.append((float(x), float(y), float(z)))
                source.check_points(len(vertices))
            case ["f", rest]:
                corners = (int(cell.partition("/")[0]) for cell in rest.split())
                polygons.append([c - 1 if c > 0 else len(vertices) + c for c in corners])
                source.check_faces(len(polygons))
    return Geometry(np.array(vertices).reshape(-1, 3), fans(source, polygons))


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


def _geometry(mesh: trimesh.Trimesh) -> Geometry:
    return Geometry(np.asarray(mesh.vertices, np.float64), np.asarray(mesh.faces, np.int64).reshape(-1, 3))

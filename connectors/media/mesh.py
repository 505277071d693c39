"""Meshes in the plain formats: off, obj and stl.

Each reader is given a `Source` and gives back a `Geometry`. They are this project's own: a few
lines each, they take time and memory in proportion to the file whatever its header says, and an obj
that names material files is read without ever opening one.
"""

import re
from itertools import islice

import numpy as np

from connectors.media.geometry import Geometry, fans
from connectors.media.source import Source
from connectors.media.table import lines, numbers

STL_TRIANGLE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
STL_VERTEX = re.compile(rb"vertex\s+(\S+)\s+(\S+)\s+(\S+)")


def read_off(source: Source) -> Geometry:
    """An Object File Format mesh, also with colours or normals (COFF, NOFF), which are left out.

    The counts may follow the keyword on its own line, as in part of ModelNet.
    Source: Geomview manual, "OFF Files".
    """
    header = re.match(rb"(?:ST)?C?N?OFF", source.data)
    body = source.data[header.end() if header else 0 :]
    rows = (line.split("#")[0] for line in lines(source, body))
    rows = (row for row in rows if row.strip())
    vertex_count, face_count = (int(cell) for cell in next(rows, "").split()[:2])
    if not 0 <= vertex_count <= len(source.data) or not 0 <= face_count <= len(source.data):
        raise source.invalid(f"is damaged: {vertex_count:,} vertices, {face_count:,} faces")
    source.check_points(vertex_count)
    vertices = numbers(islice(rows, vertex_count), (0, 1, 2))
    faces = [[int(cell) for cell in row.split()[: _length(row)]] for row in islice(rows, face_count)]
    if len(vertices) < vertex_count or len(faces) < face_count:
        raise source.invalid(
            f"is cut off: {len(vertices):,} of {vertex_count:,} vertices and "
            f"{len(faces):,} of {face_count:,} faces are there"
        )
    if any(len(face) != face[0] + 1 for face in faces):
        raise source.invalid("is damaged: a face has fewer corners than it says")
    return Geometry(vertices, fans(source, (face[1:] for face in faces)))


def _length(row: str) -> int:
    """How many cells of a face's row are its count and corners; a colour may follow."""
    return int(row.split(maxsplit=1)[0]) + 1


def read_obj(source: Source) -> Geometry:
    """A Wavefront mesh: its `v` and `f` lines; everything else, `mtllib` too, is passed over.

    Corners count from 1, or backwards from the latest vertex when negative. Without faces the
    vertices are a cloud. Source: Wavefront, "Object Files (.obj)", appendix B1.
    """
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
    if len(data) >= 84 and len(data) == 84 + count * STL_TRIANGLE.itemsize:
        source.check_faces(count)
        corners = np.frombuffer(data, STL_TRIANGLE, count, 84)["corners"].astype(np.float64)
    elif data.lstrip()[:5].lower() == b"solid":
        if b"endsolid" not in data[-4096:]:
            raise source.invalid("is cut off: its endsolid line is missing")
        source.check_faces(data.count(b"vertex") // 3)
        cells = [cell for vertex in STL_VERTEX.findall(data) for cell in vertex]
        corners = np.array(cells, np.bytes_).astype(np.float64).reshape(-1, 3, 3)
    else:
        raise source.invalid(f"is cut off or damaged: {count:,} triangles declared")
    vertices = corners.reshape(-1, 3)
    return Geometry(vertices, np.arange(len(vertices)).reshape(-1, 3))

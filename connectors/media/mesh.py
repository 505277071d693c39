"""Meshes in the plain formats: off, obj and stl.

Each reader is given a `Source` and gives back a `Geometry`. The rows of off and obj are read here, since what
trimesh cannot read of them it leaves out without a word (docs/media.md); trimesh reads stl, after counts and
lengths were held against what is there.
"""

import re
from array import array
from io import BytesIO
from itertools import islice

import numpy as np
import trimesh

from connectors.media.geometry import Geometry, Triangles, Vertices, no_triangles
from connectors.media.polygons import Polygons
from connectors.media.source import Source
from connectors.media.table import lines, numbers

OFF_HEADER = re.compile(r"(?:ST)?C?N?OFF\s*(\d+)\s+(\d+)(?:\s+\d+)?\s*\n")
CONTINUED = re.compile(rb"\\(?:\r\n|\r|\n)")
"""A backslash at the end of a line of obj: it goes on with the next."""

STL_TRIANGLE_BYTES = 50
STL_SOLID = re.compile(rb"^[ \t]*(?:end)?solid\b.*$", re.MULTILINE)


def read_off(source: Source) -> Geometry:
    """An Object File Format mesh, also with colours or normals (COFF, NOFF), which are left out.

    The counts may follow the keyword on its own line, as in part of ModelNet.
    Source: Geomview manual, "OFF Files".
    """
    source.check_mesh_text()
    rows = [row for line in lines(source, source.data) if (row := line.partition("#")[0].strip())]
    header = OFF_HEADER.match("\n".join(rows[:2]) + "\n")
    if header is None:
        raise source.invalid("is damaged or cut off: its counts are missing")
    count, faces = int(header[1]), int(header[2])
    body = rows[header[0].count("\n") :]
    if len(body) < count + faces:
        raise source.invalid(
            f"is cut off: it declares {count:,} vertices and {faces:,} faces and has {len(body):,} rows"
        )
    source.check_points(count)
    source.check_faces(faces)
    vertices = numbers(source, islice(body, count), range(3))
    polygons = Polygons(source)
    for row in islice(body, count, count + faces):
        cells = row.split()
        size = int(cells[0])
        if len(cells) <= size:
            raise source.invalid("is damaged: a face has fewer corners than it says")
        polygons.add([int(cell) for cell in cells[1 : size + 1]])
    return Geometry(vertices, _by_size(polygons, vertices))


def read_obj(source: Source) -> Geometry:
    """A Wavefront mesh: its `v` and `f` lines; everything else, `mtllib` too, is passed over.

    Corners count from 1, or backwards from the latest vertex when negative. Without faces the
    vertices are a cloud. Source: Wavefront, "Object Files (.obj)", appendix B1.
    """
    source.check_mesh_text()
    coordinates = array("d")
    polygons = Polygons(source)
    count = highest = 0
    line = ""
    try:
        for line in lines(source, CONTINUED.sub(b" ", source.data)):
            match line.partition("#")[0].split():
                case ["v", *cells]:
                    count += 1
                    source.check_points(count)
                    x, y, z = map(float, cells[:3])
                    coordinates.extend((x, y, z))
                case ["f", *cells]:
                    corners = [int(cell.partition("/")[0]) for cell in cells]
                    corners = [c - 1 if c >= 0 else count + c for c in corners]
                    if len(corners) < 3:
                        continue
                    highest = max(highest, *corners)
                    if min(corners) < 0:
                        raise source.invalid("has a face with a corner that is not in the file")
                    polygons.add(corners)
    except ValueError as error:
        raise source.invalid(
            f"is damaged: it has no numbers where they should be in {line.strip()[:60]!r}"
        ) from error
    if not count:
        raise source.invalid("has no vertices")
    if highest >= count:
        raise source.invalid("has a face with a corner that is not in the file")
    vertices = np.frombuffer(coordinates, np.float64).reshape(-1, 3)
    if set(polygons.sizes) == {4}:
        return Geometry(vertices, _by_size(polygons, vertices))
    return Geometry(vertices, polygons.triangles(vertices, turned=True))


def _by_size(polygons: Polygons, vertices: Vertices) -> Triangles:
    """Triangles, then the first half of every square, then the second, then the other polygons."""
    parts = [no_triangles()]
    for _, triangles in polygons.by_size(vertices, turned=True):
        alike = triangles.transpose(1, 0, 2) if triangles.shape[1] == 2 else triangles
        parts.append(alike.reshape(-1, 3))
    return np.concatenate(parts)


def read_stl(source: Source) -> Geometry:
    """A stereolithography mesh, ascii or binary; three vertices of its own for each triangle."""
    data = source.data
    count = int.from_bytes(data[80:84], "little")
    end = 84 + count * STL_TRIANGLE_BYTES
    # Binary files may begin with "solid" too, but their count of triangles has a zero byte.
    is_text = data.lstrip()[:5].lower() == b"solid" and b"\0" not in data[:84]
    if not is_text and 0 <= len(data) - end < STL_TRIANGLE_BYTES:
        data = data[:end]  # some writers add a few bytes
    elif not is_text:
        raise source.invalid(f"is cut off or damaged: {count:,} triangles declared")
    else:
        source.check_mesh_text()
        data = data.lower().replace(b"\r", b"\n")
        if b"endsolid" not in data[-4096:]:
            raise source.invalid("is cut off: its endsolid line is missing")
        # One solid without a name: trimesh takes "vertex" in a name for one, and a part for each solid.
        data = b"solid\n" + STL_SOLID.sub(b"", data).strip() + b"\nendsolid\n"
        count = data.count(b"vertex") // 3
    source.check_faces(count)
    source.check_points(3 * count)
    mesh = trimesh.load_mesh(BytesIO(data), file_type="stl", process=False)
    if len(mesh.faces) != count:  # it stops where a number cannot be read
        raise source.invalid(f"is damaged: {len(mesh.faces):,} of {count:,} triangles can be read")
    return Geometry(np.asarray(mesh.vertices, np.float64), np.asarray(mesh.faces, np.int64))

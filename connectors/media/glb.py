"""Binary glTF scenes (glb): every mesh of the scene, put where its nodes put it.

Given a `Source`, back comes one `Geometry`. Textures, materials, skins and animations are not
looked at, and nothing outside the file is opened. Format: Khronos glTF 2.0, sections 3 and 4.
"""

import json
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from connectors.errors import InvalidMedia
from connectors.media.geometry import Geometry, no_triangles
from connectors.media.source import Source

Matrix = npt.NDArray[np.float64]

COMPONENTS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
WIDTHS = {"SCALAR": 1, "VEC3": 3}
POINTS, TRIANGLES, STRIP, FAN = 0, 4, 5, 6


def read_glb(source: Source) -> Geometry:
    """The triangles of the default scene in its own coordinates; a scene of points is a cloud."""
    document, buffer = _chunks(source)
    vertices: list[npt.NDArray[np.float64]] = []
    triangles: list[npt.NDArray[np.int64]] = []
    vertex_count = face_count = 0
    for mesh, matrix in _placed(source, document):
        for primitive in document["meshes"][mesh]["primitives"]:
            part = _primitive(source, document, buffer, primitive)
            # A mesh may be placed many times, so the totals are what counts.
            face_count += len(part.triangles)
            source.check_faces(face_count)
            triangles.append(part.triangles + vertex_count)
            vertex_count += len(part.vertices)
            source.check_points(vertex_count)
            vertices.append(part.vertices @ matrix[:3, :3].T + matrix[:3, 3])
    if not vertices:
        raise source.invalid("has no meshes in its scene")
    return Geometry(np.concatenate(vertices), np.concatenate(triangles))


def _chunks(source: Source) -> tuple[dict[str, Any], bytes]:
    """The JSON chunk, parsed, and the binary chunk, empty if there is none."""
    _, version, length = struct.unpack_from("<4sII", source.data)
    if version != 2:
        raise source.invalid(f"is glTF version {version}; version 2 is read")
    if length > len(source.data):
        raise source.invalid(f"is cut off: {length - len(source.data):,} bytes are missing")
    chunks: dict[bytes, bytes] = {}
    position = 12
    while position + 8 <= length:
        size, kind = struct.unpack_from("<I4s", source.data, position)
        chunks.setdefault(kind, source.data[position + 8 : position + 8 + size])
        position += 8 + size
    document = json.loads(chunks[b"JSON"])
    if not isinstance(document, dict):
        raise source.invalid("is damaged: its JSON is not an object")
    return document, chunks.get(b"BIN\0", b"")


def _placed(source: Source, document: dict[str, Any]) -> Iterator[tuple[int, Matrix]]:
    """Each node's mesh with the node's transform to the scene [4, 4], parents applied.

    The nodes have to be a tree (glTF 2.0, 3.5.2), which also bounds the walk.
    """
    nodes = document.get("nodes", [])
    if "scenes" in document:
        roots = document["scenes"][document.get("scene", 0)].get("nodes", [])
    else:
        children = {child for node in nodes for child in node.get("children", [])}
        roots = [i for i in range(len(nodes)) if i not in children]
    waiting = [(root, np.eye(4)) for root in reversed(roots)]
    seen: set[int] = set()
    while waiting:
        index, parent = waiting.pop()
        if index in seen:
            raise source.invalid(f"is damaged: its node {index} has two places in the scene")
        seen.add(index)
        node = nodes[index]
        matrix = parent @ _transform(node)
        if "mesh" in node:
            yield node["mesh"], matrix
        waiting.extend((child, matrix) for child in reversed(node.get("children", [])))


def _transform(node: dict[str, Any]) -> Matrix:
    """A node's own matrix [4, 4]: given column by column, or as T x R x S."""
    if "matrix" in node:
        return np.array(node["matrix"], np.float64).reshape(4, 4).T
    x, y, z, w = np.array(node.get("rotation", (0, 0, 0, 1)), np.float64)
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    matrix = np.eye(4)
    matrix[:3, :3] = rotation * np.array(node.get("scale", (1, 1, 1)), np.float64)
    matrix[:3, 3] = node.get("translation", (0, 0, 0))
    return matrix


def _primitive(
    source: Source, document: dict[str, Any], buffer: bytes, primitive: dict[str, Any]
) -> Geometry:
    """One part of a mesh in its own coordinates; lines count as points."""
    if "KHR_draco_mesh_compression" in primitive.get("extensions", {}):
        raise source.invalid("is compressed with Draco, which is not read; save it without")
    vertices = _accessor(source, document, buffer, primitive["attributes"]["POSITION"], "VEC3")
    mode = primitive.get("mode", TRIANGLES)
    if mode not in (TRIANGLES, STRIP, FAN):
        return Geometry(vertices, no_triangles())
    if "indices" in primitive:
        order = _accessor(source, document, buffer, primitive["indices"], "SCALAR")[:, 0]
        corners = order.astype(np.int64)
    else:
        corners = np.arange(len(vertices))
    if len(corners) and (corners.min() < 0 or corners.max() >= len(vertices)):
        raise source.invalid("is damaged: a triangle has a corner that is not there")
    if mode == TRIANGLES:
        return Geometry(vertices, corners[: len(corners) // 3 * 3].reshape(-1, 3))
    first = corners[:-2] if mode == STRIP else np.full(max(len(corners) - 2, 0), corners[0])
    return Geometry(vertices, np.stack((first, corners[1:-1], corners[2:]), axis=1))


def _accessor(
    source: Source, document: dict[str, Any], buffer: bytes, index: int, kind: str
) -> npt.NDArray[np.float64]:
    """An accessor's elements as floats [count, width]; integers flagged normalised as 0..1."""
    accessor = document["accessors"][index]
    if accessor["type"] != kind or "sparse" in accessor or "bufferView" not in accessor:
        raise source.invalid(f"keeps {kind} data in a form that is not read (sparse or empty)")
    view = document["bufferViews"][accessor["bufferView"]]
    if "uri" in document["buffers"][view["buffer"]] or view["buffer"] != 0:
        raise source.invalid("keeps its data in another file; export it as one glb")
    if "EXT_meshopt_compression" in view.get("extensions", {}):
        raise source.invalid("is compressed with meshopt, which is not read; save it without")
    dtype = np.dtype(COMPONENTS[accessor["componentType"]])
    width, count = WIDTHS[kind], accessor["count"]
    stride = view.get("byteStride", dtype.itemsize * width)
    start = view.get("byteOffset", 0) + accessor.get("byteOffset", 0)
    end = start + stride * (count - 1) + dtype.itemsize * width
    if min(start, count - 1, stride - dtype.itemsize * width) < 0 or end > len(buffer):
        raise _outside(source, index)
    source.check_points(count if kind == "VEC3" else 0)
    source.check_faces(count // 3 if kind == "SCALAR" else 0)
    values: npt.NDArray[np.generic] = np.ndarray(
        (count, width), dtype, buffer, start, (stride, dtype.itemsize)
    )
    floats = values.astype(np.float64)
    if accessor.get("normalized") and dtype.kind in "iu":
        floats = np.maximum(floats / np.iinfo(dtype).max, -1.0)
    return floats


def _outside(source: Source, index: int) -> InvalidMedia:
    return source.invalid(f"is damaged: its accessor {index} does not lie in the file")

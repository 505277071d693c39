"""Binary glTF scenes (glb): every mesh of the scene, put where its nodes put it.

Given a `Source`, back comes one `Geometry`. trimesh reads and places the meshes; it is handed a copy
of the file's JSON cut down to nodes, positions and indices, all of them checked against the bytes
there. So nothing else is opened or unpacked (textures, Draco), and no count allocates by itself.
Format: Khronos glTF 2.0, sections 3 and 4.
"""

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from operator import index
from typing import Any

import numpy as np
import trimesh

from connectors.media.geometry import Geometry, no_triangles
from connectors.media.source import Source

Json = dict[str, Any]

LONGEST_JSON = 8 * 1024 * 1024
"""Bytes. Parsed, JSON takes up to 30 times its room."""

MOST_NODES = 20_000
"""Nodes of a scene, and one more for every primitive each time it is placed."""

DEEPEST = 100
"""Nodes inside one another. trimesh walks from each mesh back to the scene, in 4 us a node."""

COMPONENT_BYTES = {5120: 1, 5121: 1, 5122: 2, 5123: 2, 5125: 4, 5126: 4}
WIDTHS = {"SCALAR": 1, "VEC3": 3}
TRANSFORM = ("matrix", "translation", "rotation", "scale")
POINTS, LINES, TRIANGLES, STRIP, FAN = 0, (1, 2, 3), 4, 5, 6


def read_glb(source: Source) -> Geometry:
    """The triangles of the default scene in its own coordinates; a scene of points is a cloud.

    Lines count as points. What trimesh does not read (fans, Draco, meshopt, quantised and sparse
    positions) is `InvalidMedia` and says so, rather than a mesh with a part missing.
    """
    document, body = _chunks(source)
    extract = _Extract(source, document, len(body))
    extract.place()
    scene = trimesh.load_scene(
        BytesIO(_packed(extract.reduced(), body)), file_type="glb", process=False, skip_materials=True
    )
    vertices, triangles, count = [], [], 0
    for node in scene.graph.nodes_geometry:
        matrix, name = scene.graph[node]
        part = scene.geometry[name]
        vertices.append(trimesh.transform_points(part.vertices, matrix))
        faces = np.asarray(getattr(part, "faces", no_triangles()), np.int64)
        if len(faces) and (faces.min() < 0 or faces.max() >= len(part.vertices)):
            raise source.invalid("is damaged: a triangle has a corner that is not in its mesh")
        triangles.append(faces + count)
        count += len(part.vertices)
    if not vertices:
        raise source.invalid("has no meshes in its scene")
    return Geometry(np.concatenate(vertices), np.concatenate(triangles))


def _chunks(source: Source) -> tuple[Json, bytes]:
    """The JSON chunk, parsed, and the binary chunk, empty if there is none."""
    _, version, length = struct.unpack_from("<4sII", source.data)
    if version != 2:
        raise source.invalid(f"is glTF version {version}; version 2 is read")
    if length > len(source.data):
        raise source.invalid(f"is cut off: {length - len(source.data):,} bytes are missing")
    chunks: dict[bytes, bytes] = {}
    position = 12
    while position + 8 <= length and len(chunks) < 2:
        size, kind = struct.unpack_from("<I4s", source.data, position)
        chunks.setdefault(kind, source.data[position + 8 : position + 8 + size])
        position += 8 + size
    head = chunks[b"JSON"]
    if len(head) > LONGEST_JSON:
        raise source.too_large(f"{len(head):,} bytes of JSON", f"{LONGEST_JSON:,}")
    document = json.loads(head)
    if not isinstance(document, dict):
        raise source.invalid("is damaged: its JSON is not an object")
    return document, chunks.get(b"BIN\0", b"")


def _packed(document: Json, body: bytes) -> bytes:
    """A glb file of two chunks."""
    head = json.dumps(document).encode()
    head += b" " * (-len(head) % 4)
    length = 12 + 8 + len(head) + 8 + len(body)
    start = struct.pack("<4sIII4s", b"glTF", 2, length, len(head), b"JSON")
    return b"".join((start, head, struct.pack("<I4s", len(body), b"BIN\0"), body))


@dataclass(slots=True)
class _Extract:
    """What of a document becomes points, checked while it is copied.

    Every primitive gets a mesh and, wherever it is placed, a node of its own: trimesh names the
    primitives that share a node at random, and of two alike names one would be lost.
    """

    source: Source
    document: Json
    body_size: int
    nodes: list[Json] = field(default_factory=list)
    roots: list[int] = field(default_factory=list)
    meshes: list[Json] = field(default_factory=list)
    accessors: list[Json] = field(default_factory=list)
    views: list[Json] = field(default_factory=list)
    counts: list[tuple[int, int]] = field(default_factory=list)
    """Vertices and triangles of each of `meshes`."""
    copied: dict[tuple[str, int], Any] = field(default_factory=dict)
    """Where meshes and accessors that were copied are now."""

    def reduced(self) -> Json:
        """The document trimesh is to read."""
        return {
            "asset": {"version": "2.0"},
            "scene": 0,
            "scenes": [{"nodes": self.roots}],
            "nodes": self.nodes,
            "meshes": self.meshes,
            "accessors": self.accessors,
            "bufferViews": self.views,
            "buffers": [{"byteLength": self.body_size}],
        }

    def place(self) -> None:
        """Copy the scene's nodes and their meshes, counting what they add up to."""
        points = faces = 0
        for place, node in self._walk():
            children = self.nodes[place]["children"]
            for mesh in self._mesh(node["mesh"]) if "mesh" in node else ():
                children.append(self._add({"mesh": mesh}))
                points, faces = points + self.counts[mesh][0], faces + self.counts[mesh][1]
                self.source.check_points(points)
                self.source.check_faces(faces)

    def _walk(self) -> Iterator[tuple[int, Json]]:
        """Each node of the scene: where its copy is, and the original.

        The nodes have to be a tree (glTF 2.0, 3.5.2), which also bounds the walk.
        """
        nodes = self.document.get("nodes", [])
        if "scenes" in self.document:
            roots = self.document["scenes"][self.document.get("scene", 0)].get("nodes", [])
        else:
            below = {child for node in nodes for child in node.get("children", [])}
            roots = [i for i in range(len(nodes)) if i not in below]
        waiting = [(root, self.roots, 1) for root in reversed(roots)]
        seen: set[int] = set()
        while waiting:
            number, siblings, depth = waiting.pop()
            if number in seen:
                raise self.source.invalid(f"is damaged: its node {number} has two places in the scene")
            if depth > DEEPEST:
                raise self.source.too_large(f"more than {DEEPEST} nodes inside one another", f"{DEEPEST}")
            seen.add(number)
            node = nodes[number]
            children: list[int] = []
            transform = {key: node[key] for key in TRANSFORM if key in node}
            place = self._add({**transform, "children": children})
            siblings.append(place)
            yield place, node
            waiting.extend((child, children, depth + 1) for child in reversed(node.get("children", [])))

    def _add(self, node: Json) -> int:
        if len(self.nodes) >= MOST_NODES:
            raise self.source.too_large("too many nodes and meshes in its scene", f"{MOST_NODES:,}")
        self.nodes.append(node)
        return len(self.nodes) - 1

    def _mesh(self, number: int) -> list[int]:
        """Where the primitives of a mesh are now."""
        if ("mesh", number) not in self.copied:
            primitives = self.document["meshes"][number]["primitives"]
            self.copied["mesh", number] = [self._primitive(p) for p in primitives]
        found: list[int] = self.copied["mesh", number]
        return found

    def _primitive(self, primitive: Json) -> int:
        if "KHR_draco_mesh_compression" in primitive.get("extensions", {}):
            raise self.source.invalid("is compressed with Draco, which is not read; save it without")
        mode = primitive.get("mode", TRIANGLES)
        if mode == FAN:
            raise self.source.invalid("has triangle fans, which are not read; save it with triangles")
        position = self._accessor(primitive["attributes"]["POSITION"], "VEC3")
        vertices = corners = self.accessors[position]["count"]
        kept: Json = {"attributes": {"POSITION": position}, "mode": POINTS if mode in LINES else mode}
        if mode in (TRIANGLES, STRIP) and "indices" in primitive:
            kept["indices"] = self._accessor(primitive["indices"], "SCALAR")
            corners = self.accessors[kept["indices"]]["count"]
        faces = {TRIANGLES: corners // 3, STRIP: max(corners - 2, 0)}.get(mode, 0)
        self.meshes.append({"primitives": [kept]})
        self.counts.append((vertices, faces))
        return len(self.meshes) - 1

    def _accessor(self, number: int, kind: str) -> int:
        """Where an accessor's copy is, with a view of its own that is just as long as it has to be."""
        if ("accessor", number) in self.copied:
            return int(self.copied["accessor", number])
        accessor = self.document["accessors"][number]
        if accessor["type"] != kind or "sparse" in accessor or "bufferView" not in accessor:
            raise self.source.invalid(f"keeps {kind} data in a form that is not read (sparse or empty)")
        if kind == "VEC3" and accessor.get("normalized"):
            raise self.source.invalid("has quantised positions, which are not read; save it without")
        view = self.document["bufferViews"][accessor["bufferView"]]
        if "uri" in self.document["buffers"][view["buffer"]] or view["buffer"] != 0:
            raise self.source.invalid("keeps its data in another file; export it as one glb")
        if "EXT_meshopt_compression" in view.get("extensions", {}):
            raise self.source.invalid("is compressed with meshopt, which is not read; save it without")
        row = COMPONENT_BYTES[accessor["componentType"]] * WIDTHS[kind]
        count, stride = index(accessor["count"]), index(view.get("byteStride", row))
        start = index(view.get("byteOffset", 0)) + index(accessor.get("byteOffset", 0))
        size = stride * (count - 1) + row
        if min(start, count - 1, stride - row) < 0 or start + size > self.body_size:
            raise self.source.invalid(f"is damaged: its accessor {number} does not lie in the file")
        if size + sum(v["byteLength"] for v in self.views) > self.body_size:
            raise self.source.invalid("is damaged: its accessors overlap")
        self.views.append({"buffer": 0, "byteOffset": start, "byteLength": size})
        if stride != row:
            self.views[-1]["byteStride"] = stride
        self.accessors.append(
            {
                "bufferView": len(self.views) - 1,
                "componentType": accessor["componentType"],
                "count": count,
                "type": kind,
            }
        )
        self.copied["accessor", number] = len(self.accessors) - 1
        return len(self.accessors) - 1

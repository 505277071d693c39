"""Shapes of figures as files: points sampled from the surface, or the triangles themselves.

Each format the service reads is used by some shape of the gallery, so that the gallery tries them all.
"""

import io
from typing import Any

import numpy as np
import numpy.typing as npt
from plyfile import PlyData, PlyElement

from gallery_maker.solid import Figure, mesh

POINTS = 4096
FORMATS = ("ply", "npy", "xyz", "pcd", "npz", "obj", "glb", "stl", "off")


def sample(figure: Figure, count: int, seed: int) -> npt.NDArray[np.float32]:
    """Points [count, 3] spread evenly over the figure's surface."""
    rng = np.random.default_rng(seed)
    body = mesh(figure)
    triangles = np.asarray(body.triangles)
    chosen = rng.choice(len(triangles), size=count, p=np.asarray(body.area_faces) / body.area)
    a, b = np.sqrt(rng.random((count, 1))), rng.random((count, 1))
    corner = triangles[chosen]
    points = (1 - a) * corner[:, 0] + a * (1 - b) * corner[:, 1] + a * b * corner[:, 2]
    return np.asarray(points, dtype=np.float32)


def write(figure: Figure, suffix: str, seed: int) -> bytes:
    """The figure as the bytes of a file of that kind."""
    if suffix in ("obj", "glb", "stl", "off"):
        return _mesh_bytes(mesh(figure), suffix)
    points = sample(figure, POINTS, seed)
    if suffix == "xyz":
        return "".join(f"{x:.3f} {y:.3f} {z:.3f}\n" for x, y, z in points[:2048]).encode()
    buffer = io.BytesIO()
    if suffix == "npy":
        np.save(buffer, points)
    elif suffix == "npz":
        np.savez(buffer, points=points)
    elif suffix == "ply":
        rows = np.empty(len(points), dtype=[("x", "<f4"), ("y", "<f4"), ("z", "<f4")])
        rows["x"], rows["y"], rows["z"] = points.T
        PlyData([PlyElement.describe(rows, "vertex")], byte_order="<").write(buffer)
    elif suffix == "pcd":
        header = (
            "# .PCD v0.7\nVERSION 0.7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\n"
            f"WIDTH {len(points)}\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS {len(points)}\nDATA binary\n"
        )
        buffer.write(header.encode())
        buffer.write(points.astype("<f4").tobytes())
    else:
        raise ValueError(f"no writer for .{suffix}; there is one for {', '.join(FORMATS)}")
    return buffer.getvalue()


def _mesh_bytes(body: Any, suffix: str) -> bytes:
    """A trimesh as the bytes of a file, without colours where the format keeps them elsewhere."""
    if suffix == "obj":
        body.visual = None
        body.visual = type(body)().visual
    data = body.export(file_type=suffix)
    return data.encode() if isinstance(data, str) else bytes(data)

"""Contents of a 3D file, before they become a point cloud.

Holds `Geometry`: points in space and, for a mesh, the triangles between them. `cloud` checks it and
gives back the points themselves or, of a mesh, points spread evenly over its surface.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import trimesh

from connectors.media.source import Source
from connectors.modality import Points

Vertices = npt.NDArray[np.float64]
Triangles = npt.NDArray[np.int64]

SURFACE_POINTS = 8192
"""Points drawn from a mesh: what ULIP-2's PointBERT was trained on (8,192 to 10,000)."""

SURFACE_SEED = 0

FAR = 1000.0
"""Number of its own extents that a cloud may lie from the origin before it is moved there. Survey
coordinates (4,000,000 m north) would otherwise lose the shape to float32's 24 bits."""


def no_triangles() -> Triangles:
    """The triangles of a plain cloud."""
    return np.zeros((0, 3), np.int64)


@dataclass(frozen=True, slots=True)
class Geometry:
    """`vertices` float64 [V, 3]; `triangles` int64 [T, 3], rows of `vertices`, may be none."""

    vertices: Vertices
    triangles: Triangles = field(default_factory=no_triangles)


def cloud(source: Source, geometry: Geometry) -> Points:
    """Float32 [N, 3]: the vertices, or `SURFACE_POINTS` points of a mesh's surface.

    In the file's own units and axes; a cloud more than `FAR` extents from the origin is centred.
    Raises `InvalidMedia` if coordinates are not finite, points are too few or all in one place, a
    triangle names a missing vertex, or a mesh has no surface.
    """
    vertices = geometry.vertices
    source.check_points(len(vertices))
    source.check_faces(len(geometry.triangles))
    if not np.isfinite(vertices).all():
        raise source.invalid("has coordinates that are not finite numbers")
    if len(geometry.triangles):
        if geometry.triangles.min() < 0 or geometry.triangles.max() >= len(vertices):
            raise source.invalid("has a triangle with a corner that is not in the file")
        points = sample_surface(source, geometry)
    else:
        points = vertices
    if len(points) < source.limits.min_points:
        raise source.invalid(f"has {len(points)} points; at least {source.limits.min_points} are needed")
    low, high = points.min(axis=0), points.max(axis=0)
    extent = float((high - low).max())
    if extent == 0:
        raise source.invalid("has all its points in one place")
    if max(abs(low).max(), abs(high).max()) > FAR * extent:
        points = points - (low + high) / 2
    narrow = points.astype(np.float32)
    if not np.isfinite(narrow).all():
        raise source.invalid("has coordinates too large for 32-bit floats")
    return narrow


def sample_surface(source: Source, geometry: Geometry, count: int = SURFACE_POINTS) -> Vertices:
    """Draw points uniformly over the area of a mesh's triangles: float64 [count, 3].

    The seed is fixed, so one mesh is one cloud. Raises `InvalidMedia` if the area is zero.
    """
    mesh = trimesh.Trimesh(geometry.vertices, geometry.triangles, process=False)
    if not 0 < mesh.area < np.inf:
        raise source.invalid("is a mesh without a surface")
    points, _ = trimesh.sample.sample_surface(mesh, count, seed=SURFACE_SEED)
    return np.asarray(points, np.float64)

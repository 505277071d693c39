"""Faces of a mesh: polygons in, triangles out.

A polygon is a fan of triangles around its first corner where that covers it, as it does every convex one.
One with a notch is cut by another fan or, from six corners on, by mapbox_earcut in the plane that lies
closest to its corners. A polygon of n corners is n - 2 triangles; those that are not needed have no area.
"""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import mapbox_earcut
import numpy as np
import numpy.typing as npt

from connectors.media.geometry import Triangles, Vertices, no_triangles
from connectors.media.source import Source

Corners = npt.NDArray[np.int64]
"""Rows of vertices: [F, n] for F polygons of n corners each."""

LARGEST_FAN = 5
"""Corners. Up to here some corner of a polygon without crossings sees all of it (art gallery theorem)."""

MOST_CUT = 100_000
"""Polygons with a notch and more than `LARGEST_FAN` corners, at 30 us each."""

MOST_CUT_WORK = 1_000_000_000
"""The squares of their corners, summed. Earcut takes 6 ns for each at worst: 6 s in all."""

CHUNK = 1 << 16
"""Polygons looked at together: what is computed for them stays in the processor's cache."""


@dataclass(slots=True)
class Polygons:
    """Polygons of any sizes, added one by one. `corners` is all of them, one behind the other."""

    source: Source
    corners: "array[int]" = field(default_factory=lambda: array("q"))
    sizes: "array[int]" = field(default_factory=lambda: array("q"))
    triangle_count: int = 0

    def add(self, polygon: Sequence[int]) -> None:
        """Add one with three corners or more. Raises `MediaTooLarge` as soon as there are too many."""
        if len(polygon) < 3:
            return
        self.triangle_count += len(polygon) - 2
        self.source.check_faces(self.triangle_count)
        self.corners.extend(polygon)
        self.sizes.append(len(polygon))

    def by_size(
        self, vertices: Vertices, turned: bool = False
    ) -> Iterator[tuple[npt.NDArray[np.int64], Triangles]]:
        """Yield, for each number of corners, which polygons have it and their triangles [F, n - 2, 3].

        `turned` lets the second half of a square begin at its third corner. The surface is the same; the
        points drawn from it are not, and obj and off have always had them so.
        """
        if not self.sizes:
            return
        cut = _Cut(self.source, vertices)
        corners, sizes = np.frombuffer(self.corners, np.int64), np.frombuffer(self.sizes, np.int64)
        starts = np.cumsum(sizes) - sizes
        for size in np.unique(sizes):
            chosen = np.flatnonzero(sizes == size)
            triangles = cut(corners[starts[chosen, None] + np.arange(size)])
            if turned and size == 4:
                triangles[:, 1] = np.roll(triangles[:, 1], -1, axis=1)
            yield chosen, triangles

    def triangles(self, vertices: Vertices, turned: bool = False) -> Triangles:
        """All triangles [T, 3], in the order of their polygons."""
        out = np.zeros((self.triangle_count, 3), np.int64)
        counts = np.frombuffer(self.sizes, np.int64) - 2 if self.sizes else np.zeros(0, np.int64)
        starts = np.cumsum(counts) - counts
        for chosen, triangles in self.by_size(vertices, turned):
            out[starts[chosen, None] + np.arange(triangles.shape[1])] = triangles
        return out


def triangulate(source: Source, vertices: Vertices, polygons: Corners) -> Triangles:
    """Return the triangles [T, 3] of polygons of equal size: the first of each, then the second."""
    source.check_faces(len(polygons) * max(polygons.shape[1] - 2, 0))
    if polygons.shape[1] < 3:
        return no_triangles()
    return _Cut(source, vertices)(polygons).transpose(1, 0, 2).reshape(-1, 3)


def fans(polygons: Corners) -> Triangles:
    """Return the triangles around the first corner of each polygon: [F, n - 2, 3]."""
    out = np.empty((len(polygons), polygons.shape[1] - 2, 3), np.int64)
    out[:, :, 0] = polygons[:, :1]
    out[:, :, 1] = polygons[:, 1:-1]
    out[:, :, 2] = polygons[:, 2:]
    return out


@dataclass(slots=True)
class _Cut:
    """Turns polygons with equally many corners into triangles, and counts what the hard ones take."""

    source: Source
    vertices: Vertices
    polygons: int = 0
    work: int = 0

    def __call__(self, polygons: Corners) -> Triangles:
        """Return triangles [F, n - 2, 3]."""
        size = polygons.shape[1]
        if size == 3:
            return polygons[:, None]
        if polygons.min() < 0 or polygons.max() >= len(self.vertices):
            raise self.source.invalid("has a face with a corner that is not in the file")
        if not np.isfinite(self.vertices).all():
            raise self.source.invalid("has coordinates that are not finite numbers")
        triangles = fans(polygons)
        notched = self._uncovered(triangles)
        if size <= LARGEST_FAN:
            for first in range(1, size):
                turned = fans(np.roll(polygons[notched], -first, axis=1))
                left = self._uncovered(turned)
                solved = np.ones(len(notched), bool)
                solved[left] = False
                triangles[notched[solved]] = turned[solved]
                notched = notched[left]
        else:
            self._check_work(len(notched), size)
            for number in notched:
                found = self._cut(polygons[number], triangles[number])
                if len(found):  # none where it has no area, or only crossings
                    triangles[number] = polygons[number, 0]
                    triangles[number, : len(found)] = found
        return triangles

    def _uncovered(self, triangles: Triangles) -> npt.NDArray[np.int64]:
        """Return the rows whose fan has a triangle that faces away from the whole: it lies in a notch."""
        found = []
        for start in range(0, len(triangles), CHUNK):
            normals = _normals(self.vertices, triangles[start : start + CHUNK])
            whole = normals.sum(axis=1)
            along = np.einsum("ftc,fc->ft", normals, whole)
            # Rounding may turn corners in a line, which have no area, to either side.
            limit = -1e-9 * np.einsum("fc,fc->f", whole, whole)
            found.append(start + np.flatnonzero((along < limit[:, None]).any(axis=1)))
        return np.concatenate(found) if found else np.zeros(0, np.int64)

    def _cut(self, polygon: npt.NDArray[np.int64], fan: Triangles) -> Triangles:
        """Return the triangles [at most n - 2, 3] that earcut finds in a polygon's best plane."""
        normal = _normals(self.vertices, fan[None])[0].sum(axis=0)
        # By the sum of the fan, Newell's normal, the polygon's shadow in the plane is as large as can be.
        across = np.cross(normal, np.eye(3)[np.abs(normal).argmin()])
        across /= np.linalg.norm(across)
        up = np.cross(normal / np.linalg.norm(normal), across)
        corners = self.vertices[polygon] - self.vertices[polygon[0]]
        flat = np.ascontiguousarray(corners @ np.stack((across, up), axis=1))
        if not np.isfinite(flat).all():  # coordinates at the ends of what a float can be
            return no_triangles()
        found = mapbox_earcut.triangulate_float64(flat, np.array([len(flat)], np.uint32))
        triangles: Triangles = polygon[found.reshape(-1, 3)[: len(polygon) - 2]]
        return triangles

    def _check_work(self, count: int, size: int) -> None:
        self.polygons += count
        self.work += count * size * size
        if self.polygons > MOST_CUT:
            raise self.source.too_large(f"{self.polygons:,} polygons with notches", f"{MOST_CUT:,}")
        if self.work > MOST_CUT_WORK:
            most = int(MOST_CUT_WORK**0.5)
            raise self.source.too_large("polygons with notches and too many corners", f"{most:,} in all")


def _normals(vertices: Vertices, triangles: Triangles) -> npt.NDArray[np.float64]:
    """Return twice the area of each triangle of [F, t, 3] along its normal: [F, t, 3]."""
    first = vertices[triangles[:, 0, 0]][:, None]
    sides = vertices[triangles[:, :, 1:]] - first[:, :, None]
    a, b = sides[:, :, 0], sides[:, :, 1]
    out: npt.NDArray[np.float64] = np.empty_like(a)
    # numpy.cross does the same with three times as many copies.
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        np.subtract(a[..., j] * b[..., k], a[..., k] * b[..., j], out=out[..., i])
    return out

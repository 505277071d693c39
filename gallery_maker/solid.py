"""Solids: simple bodies put together into a figure, from which pictures and shapes are made.

A `Part` is one coloured body (ball, box, cone, rod, ring). A `Figure` is a tuple of them. `distance`
gives the signed distance a picture is traced with, `mesh` the triangles a shape file holds.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import trimesh
from PIL import ImageColor
from scipy.spatial.transform import Rotation

Array: TypeAlias = npt.NDArray[np.float64]
Vector: TypeAlias = tuple[float, float, float]
Kind = Literal["ball", "box", "cone", "ring"]


@dataclass(frozen=True)
class Part:
    """One body. `size` is read by kind, in the body's own axes before it is turned.

    ball: the three radii; box: the three half sides; cone (along y): radius below, half height, radius
    above; ring (lying in xz): radius, thickness, unused. `turn` is in degrees about x, then y, then z.
    """

    kind: Kind
    at: Vector
    size: Vector
    colour: str
    turn: Vector = (0.0, 0.0, 0.0)
    rounding: float = 0.0

    @property
    def radius(self) -> float:
        """Of a sphere around the body."""
        first, second, third = self.size
        if self.kind == "ball":
            return max(self.size)
        if self.kind == "ring":
            return first + second
        return float(
            np.hypot(max(first, third), second) if self.kind == "cone" else np.linalg.norm(self.size)
        )

    @cached_property
    def rotation(self) -> Array:
        """The 3x3 matrix that turns the body's own axes into the figure's."""
        return np.asarray(Rotation.from_euler("xyz", self.turn, degrees=True).as_matrix())

    @cached_property
    def rgb(self) -> Array:
        """The colour as three numbers in 0..1, in linear light."""
        return (np.array(ImageColor.getrgb(self.colour)[:3]) / 255.0) ** 2.2

    def mirrored(self, axis: int) -> "Part":
        """The same body on the other side of the plane through the origin across `axis`."""
        at, turn = list(self.at), [-angle for angle in self.turn]
        at[axis] = -at[axis]
        turn[axis] = -turn[axis]
        return replace(self, at=(at[0], at[1], at[2]), turn=(turn[0], turn[1], turn[2]))


@dataclass(frozen=True)
class Figure:
    """Parts that make one thing, how softly they melt into each other, and where to look at it from."""

    parts: tuple[Part, ...]
    blend: float = 0.0
    azimuth: float = 30.0
    elevation: float = 14.0
    backdrop: str = "#dfe7ee"
    floats: bool = False


def both(*parts: Part, axis: int = 0) -> tuple[Part, ...]:
    """The parts and their mirror images."""
    return parts + tuple(part.mirrored(axis) for part in parts)


def rod(start: Vector, end: Vector, radius: float, colour: str, taper: float = 1.0) -> Part:
    """A round bar from `start` to `end`, `radius` thick at the start and `taper` times that at the end."""
    a, b = np.array(start), np.array(end)
    length = float(np.linalg.norm(b - a))
    direction = (b - a) / length
    axis = np.cross([0.0, 1.0, 0.0], direction)
    sine, cosine = float(np.linalg.norm(axis)), float(direction[1])
    axis = axis / sine if sine > 1e-9 else np.array([1.0, 0.0, 0.0])
    turn = Rotation.from_rotvec(axis * np.arctan2(sine, cosine)).as_euler("xyz", degrees=True)
    middle = (a + b) / 2
    return Part(
        "cone",
        (float(middle[0]), float(middle[1]), float(middle[2])),
        (radius, length / 2, radius * taper),
        colour,
        (float(turn[0]), float(turn[1]), float(turn[2])),
        rounding=min(radius, radius * taper) * 0.5,
    )


def part_distance(part: Part, points: Array) -> Array:
    """Signed distance [N] from points [N, 3] to a part's surface (ellipsoids: to first order)."""
    p = (points - np.array(part.at)) @ part.rotation
    size = np.array(part.size)
    if part.kind == "ball":
        scaled = np.linalg.norm(p / size, axis=1)
        slope = np.maximum(np.linalg.norm(p / size**2, axis=1), 1e-9)
        return np.asarray(scaled * (scaled - 1.0) / slope)
    if part.kind == "ring":
        around = np.hypot(p[:, 0], p[:, 2]) - size[0]
        return np.asarray(np.hypot(around, p[:, 1]) - size[1])
    if part.kind == "box":
        outside = np.abs(p) - (size - part.rounding)
        beyond = np.linalg.norm(np.maximum(outside, 0.0), axis=1)
        return np.asarray(beyond + np.minimum(outside.max(axis=1), 0.0) - part.rounding)
    return _cone_distance(p, size - part.rounding) - part.rounding


def _cone_distance(p: Array, size: Array) -> Array:
    """A capped cone along y; after Inigo Quilez, "distance functions", sdCappedCone."""
    below, half, above = np.maximum(size, 0.0)
    q = np.stack([np.hypot(p[:, 0], p[:, 2]), p[:, 1]], axis=1)
    k1, k2 = np.array([above, half]), np.array([above - below, 2 * half])
    cap = np.where(q[:, 1] < 0, below, above)
    ca = np.stack([q[:, 0] - np.minimum(q[:, 0], cap), np.abs(q[:, 1]) - half], axis=1)
    along = np.clip(((k1 - q) @ k2) / (k2 @ k2), 0.0, 1.0)
    cb = q - k1 + along[:, None] * k2
    sign = np.where((cb[:, 0] < 0) & (ca[:, 1] < 0), -1.0, 1.0)
    return np.asarray(sign * np.sqrt(np.minimum((ca**2).sum(axis=1), (cb**2).sum(axis=1))))


def distance(figure: Figure, points: Array) -> Array:
    """Signed distance [N] from points [N, 3] to the figure: its parts' smooth union."""
    total = part_distance(figure.parts[0], points)
    for part in figure.parts[1:]:
        near, other = _within_reach(figure, part, points, total)
        # The polynomial smooth minimum.
        share = np.clip(0.5 + 0.5 * (total[near] - other) / max(figure.blend, 1e-6), 0.0, 1.0)
        total[near] += (other - total[near]) * share - figure.blend * share * (1.0 - share)
    return total


def colour(figure: Figure, points: Array) -> Array:
    """Linear colour [N, 3] of what is nearest to points [N, 3]; it melts less than the form does."""
    softness = max(figure.blend * 0.25, 1e-6)
    total = part_distance(figure.parts[0], points)
    result = np.broadcast_to(figure.parts[0].rgb, points.shape).copy()
    for part in figure.parts[1:]:
        near, other = _within_reach(figure, part, points, total)
        share = np.clip(0.5 + 0.5 * (total[near] - other) / softness, 0.0, 1.0)
        result[near] += (part.rgb - result[near]) * share[:, None]
        total[near] = np.minimum(total[near], other)
    return result


def _within_reach(figure: Figure, part: Part, points: Array, total: Array) -> tuple[Any, Array]:
    """The points [M] a part may be nearest to, given distances [N] so far, and its distance [M] to them."""
    offset = points - np.array(part.at)
    reach = np.maximum(total + figure.blend, 0.0) + part.radius
    near = np.flatnonzero(np.einsum("ij,ij->i", offset, offset) < reach * reach)
    return near, part_distance(part, points[near])


def mesh(figure: Figure) -> Any:
    """The figure's parts as one coloured `trimesh.Trimesh`, y up."""
    bodies = []
    for part in figure.parts:
        body = _body(part)
        transform = np.eye(4)
        transform[:3, :3], transform[:3, 3] = part.rotation, part.at
        body.apply_transform(transform)
        body.visual.face_colors = [*ImageColor.getrgb(part.colour)[:3], 255]
        bodies.append(body)
    return trimesh.util.concatenate(bodies)


def _body(part: Part) -> Any:
    """A part's triangles in its own axes."""
    first, second, third = part.size
    if part.kind == "ball":
        body = trimesh.creation.icosphere(subdivisions=2)
        body.apply_scale(part.size)
        return body
    if part.kind == "box":
        return trimesh.creation.box(extents=(2 * first, 2 * second, 2 * third))
    if part.kind == "ring":
        body = trimesh.creation.torus(first, second, major_sections=24, minor_sections=10)
    else:
        outline = [[0.0, -second], [max(first, 1e-4), -second], [max(third, 1e-4), second], [0.0, second]]
        body = trimesh.creation.revolve(outline, sections=20)
    # trimesh turns around z; here bodies stand along y.
    upright = np.eye(4)
    upright[1:3, 1:3] = [[0.0, 1.0], [-1.0, 0.0]]
    body.apply_transform(upright)
    return body

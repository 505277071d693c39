"""Pictures of figures, traced in a small studio: one soft sun, a pale sky, a floor that takes shadows.

`render` is given a `Figure` and a side length and gives a PIL RGB image; the same figure always gives
the same pixels.
"""

import numpy as np
from PIL import Image, ImageColor

from gallery_maker.solid import Array, Figure, colour, distance, mesh

SUN = np.array([0.45, 0.8, 0.4]) / np.linalg.norm([0.45, 0.8, 0.4])
STEPS = 90
HIT = 1e-3


def render(figure: Figure, side: int = 256, oversample: float = 1.25) -> Image.Image:
    """The figure filling a square picture of `side` pixels, traced finer and scaled down."""
    corners = np.asarray(mesh(figure).vertices)
    centre = (corners.min(axis=0) + corners.max(axis=0)) / 2
    radius = float(np.linalg.norm(corners - centre, axis=1).max())
    floor = float(corners[:, 1].min())
    fine = int(side * oversample)
    eye, rays = _camera(figure, corners, centre, radius, fine)
    backdrop = (np.array(ImageColor.getrgb(figure.backdrop)) / 255.0) ** 2.2
    height = np.linspace(1.12, 0.86, fine).repeat(fine)[:, None]
    light = backdrop * height

    travelled = _march(figure, eye, rays, centre, radius)
    seen = np.isfinite(travelled)
    if not figure.floats:
        light = light * _floor_shadow(figure, eye, rays, floor, centre, radius)[:, None]
    points = eye + rays[seen] * travelled[seen, None]
    light[seen] = _shade(figure, points, rays[seen], floor, centre, radius)

    pixels = np.clip(light, 0.0, 1.0) ** (1 / 2.2) * 255
    image = Image.fromarray(pixels.reshape(fine, fine, 3).round().astype(np.uint8))
    return image.resize((side, side), Image.Resampling.LANCZOS)


def _camera(figure: Figure, corners: Array, centre: Array, radius: float, side: int) -> tuple[Array, Array]:
    """The place of the eye [3], and unit rays [side * side, 3] that frame the figure's corners [C, 3]."""
    azimuth, elevation = np.radians(figure.azimuth), np.radians(figure.elevation)
    back = np.array(
        [np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)]
    )
    right = np.array([np.cos(azimuth), 0.0, -np.sin(azimuth)])
    up = np.cross(back, right)
    eye = centre + back * radius * 4.2
    depth = (eye - corners) @ back
    across, upward = (corners - centre) @ right / depth, (corners - centre) @ up / depth
    half = max(float(np.ptp(across)), float(np.ptp(upward))) / 2 * 1.16
    steps = ((np.arange(side) + 0.5) / side * 2 - 1) * half
    x, y = np.meshgrid(steps + (across.min() + across.max()) / 2, (upward.min() + upward.max()) / 2 - steps)
    rays = -back + x.reshape(-1, 1) * right + y.reshape(-1, 1) * up
    return eye, rays / np.linalg.norm(rays, axis=1, keepdims=True)


def _march(figure: Figure, start: Array, rays: Array, centre: Array, radius: float) -> Array:
    """The way [N] each ray [N, 3] goes before it meets the figure; infinity where it does not."""
    origins = np.broadcast_to(start, rays.shape)
    towards = ((centre - origins) * rays).sum(axis=1)
    missed = np.linalg.norm(origins + rays * towards[:, None] - centre, axis=1) > radius * 1.02
    travelled = np.maximum(towards - radius * 1.05, 0.02)
    result = np.full(len(rays), np.inf)
    active = np.flatnonzero(~missed)
    for _ in range(STEPS):
        if not len(active):
            break
        gap = distance(figure, origins[active] + rays[active] * travelled[active, None])
        done = gap < HIT * radius
        result[active[done]] = travelled[active[done]]
        # Melted parts and ellipsoids overstate distance a little: go most of the way.
        travelled[active] += gap * 0.85
        active = active[~done & (travelled[active] < towards[active] + radius * 1.05)]
    return result


def _shade(figure: Figure, points: Array, rays: Array, floor: float, centre: Array, radius: float) -> Array:
    """Light [N, 3] the figure sends to the eye from points [N, 3] on it."""
    normal = _normal(figure, points)
    direct = np.maximum(normal @ SUN, 0.0) * _visible(figure, points + normal * 0.02, centre, radius)
    sky = 0.5 + 0.5 * normal[:, 1]
    open_air = np.ones(len(points))
    for reach in (0.03, 0.08, 0.16):
        gap = distance(figure, points + normal * reach)
        open_air -= np.clip(reach - gap, 0.0, reach) * 1.6
    if not figure.floats:
        open_air *= np.clip(0.55 + (points[:, 1] - floor) * 2.5, 0.0, 1.0)
    half = SUN - rays
    half /= np.linalg.norm(half, axis=1, keepdims=True)
    gloss = np.maximum((normal * half).sum(axis=1), 0.0) ** 40 * 0.18
    rim = (1.0 - np.clip(-(normal * rays).sum(axis=1), 0.0, 1.0)) ** 3 * 0.15
    ambient = (0.34 + 0.30 * sky) * np.clip(open_air, 0.15, 1.0)
    lit: Array = (
        colour(figure, points) * (0.85 * direct + ambient)[:, None] + (gloss * direct + rim * sky)[:, None]
    )
    return lit


def _normal(figure: Figure, points: Array) -> Array:
    """Unit normals [N, 3], from the slope of the distance."""
    step = 2e-3
    slope = np.stack(
        [
            distance(figure, points + step * axis) - distance(figure, points - step * axis)
            for axis in np.eye(3)
        ],
        axis=1,
    )
    return np.asarray(slope / np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 1e-9))


def _visible(figure: Figure, points: Array, centre: Array, radius: float) -> Array:
    """The share of the sun that each point [N, 3] sees, 0 to 1; narrow misses give a soft edge."""
    light, travelled = np.ones(len(points)), np.full(len(points), 0.03)
    # Only what lies in the figure's round shadow can be in its shadow.
    towards = (centre - points) @ SUN
    passing = np.linalg.norm(points + SUN * towards[:, None] - centre, axis=1)
    active = np.flatnonzero((passing < radius * 1.15) & (towards > -radius))
    for _ in range(28):
        gap = distance(figure, points[active] + SUN * travelled[active, None])
        light[active] = np.minimum(light[active], np.clip(0.5 + 5.0 * gap / travelled[active], 0.0, 1.0))
        travelled[active] += np.clip(gap, 0.02, 0.25)
        active = active[(light[active] > 0.0) & (travelled[active] < towards[active] + radius)]
        if not len(active):
            break
    return light


def _floor_shadow(
    figure: Figure, eye: Array, rays: Array, floor: float, centre: Array, radius: float
) -> Array:
    """The share of light left on the floor that each ray [N, 3] meets: 1 away from the figure."""
    light = np.ones(len(rays))
    down = rays[:, 1] < -1e-3
    points = eye + rays * np.where(down, (floor - eye[1]) / np.where(down, rays[:, 1], -1.0), 0.0)[:, None]
    light[down] = 0.62 + 0.38 * _visible(figure, points[down], centre, radius)
    near = np.flatnonzero(down & (np.linalg.norm(points - centre, axis=1) < radius * 1.3))
    contact = 0.55 + 1.6 * distance(figure, points[near]) / radius
    light[near] *= np.clip(contact, 0.0, 1.0)
    return light

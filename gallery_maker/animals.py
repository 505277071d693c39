"""The gallery's animals, as figures: dog, cat, cow, bird, rooster, frog.

They face +x, stand along y, and are symmetric across the z = 0 plane.
"""

from gallery_maker.solid import Figure, Part, Vector, both, rod

DARK = "#2b2320"


def _legs(
    front: float, back: float, apart: float, height: float, radius: float, colour: str, paw: str
) -> tuple[Part, ...]:
    """Four legs from the belly at `height` down to paws on the floor at y = 0."""
    legs: tuple[Part, ...] = ()
    for x in (front, back):
        leg = rod((x, height, apart), (x, 0.05, apart), radius, colour, 0.8)
        foot = Part("ball", (x + 0.04, 0.06, apart), (radius * 1.25, 0.06, radius), paw)
        legs += both(leg, foot, axis=2)
    return legs


def _eyes(at: Vector, radius: float) -> tuple[Part, ...]:
    """Two dark eyes, each with a glint."""
    glint = (at[0] + radius * 0.7, at[1] + radius * 0.5, at[2])
    return both(
        Part("ball", at, (radius, radius * 1.15, radius), DARK),
        Part("ball", glint, (radius * 0.33,) * 3, "#ffffff"),
        axis=2,
    )


def _dog() -> Figure:
    tan, cream, brown = "#c98a4b", "#f3dfc1", "#7a4a26"
    return Figure(
        (
            Part("ball", (0.0, 0.62, 0.0), (0.5, 0.26, 0.24), tan),
            Part("ball", (0.3, 0.62, 0.0), (0.24, 0.28, 0.23), tan),
            Part("ball", (0.42, 0.55, 0.0), (0.13, 0.2, 0.15), cream),
            rod((0.38, 0.72, 0.0), (0.55, 1.0, 0.0), 0.16, tan),
            Part("ball", (0.6, 1.08, 0.0), (0.25, 0.23, 0.23), tan),
            Part("ball", (0.82, 1.0, 0.0), (0.2, 0.12, 0.13), cream),
            Part("ball", (1.0, 1.06, 0.0), (0.055, 0.05, 0.065), DARK),
            Part("box", (0.84, 0.905, 0.0), (0.06, 0.06, 0.05), "#e2737f", (0.0, 0.0, -20.0), 0.03),
            *both(Part("ball", (0.52, 1.06, 0.24), (0.1, 0.22, 0.06), brown, (-14.0, 0.0, -12.0)), axis=2),
            *_eyes((0.78, 1.14, 0.1), 0.042),
            *_legs(0.3, -0.36, 0.14, 0.5, 0.085, tan, cream),
            rod((-0.44, 0.72, 0.0), (-0.72, 1.05, 0.0), 0.075, tan, 0.6),
            Part("ring", (0.46, 0.84, 0.0), (0.165, 0.028, 0.0), "#c62f3b", (0.0, 0.0, -30.0)),
        ),
        blend=0.07,
        azimuth=38.0,
        elevation=12.0,
        backdrop="#d8e6df",
    )


def _cat() -> Figure:
    grey, pale, pink = "#e8913c", "#fff1dd", "#e58c95"
    whiskers = both(
        rod((0.72, 0.92, 0.06), (0.7, 0.96, 0.34), 0.008, "#ffffff"),
        rod((0.72, 0.9, 0.06), (0.7, 0.86, 0.34), 0.008, "#ffffff"),
        axis=2,
    )
    stripes = tuple(
        Part("ring", (x, 0.5, 0.0), (0.215, 0.022, 0.0), "#b35f1e", (0.0, 0.0, 90.0))
        for x in (-0.3, -0.15, 0.0)
    )
    return Figure(
        (
            Part("ball", (-0.05, 0.5, 0.0), (0.45, 0.23, 0.21), grey),
            Part("ball", (0.28, 0.48, 0.0), (0.16, 0.2, 0.17), pale),
            rod((0.3, 0.55, 0.0), (0.42, 0.82, 0.0), 0.13, grey),
            Part("ball", (0.5, 0.96, 0.0), (0.24, 0.22, 0.27), grey),
            Part("ball", (0.69, 0.9, 0.0), (0.09, 0.08, 0.13), pale),
            Part("ball", (0.775, 0.94, 0.0), (0.025, 0.022, 0.035), pink),
            *both(
                Part("cone", (0.47, 1.21, 0.16), (0.1, 0.12, 0.012), grey, (12.0, 0.0, 0.0), 0.01),
                Part("cone", (0.5, 1.2, 0.163), (0.06, 0.09, 0.01), pink, (12.0, 0.0, -8.0), 0.005),
                axis=2,
            ),
            *both(Part("ball", (0.7, 1.02, 0.1), (0.04, 0.055, 0.05), "#9ccc3c"), axis=2),
            *both(Part("ball", (0.735, 1.02, 0.105), (0.015, 0.045, 0.016), DARK), axis=2),
            *whiskers,
            *stripes,
            *_legs(0.26, -0.34, 0.12, 0.4, 0.07, grey, pale),
            rod((-0.42, 0.55, 0.0), (-0.68, 0.72, 0.0), 0.06, grey),
            rod((-0.67, 0.7, 0.0), (-0.72, 1.1, 0.0), 0.058, grey, 0.8),
        ),
        blend=0.05,
        azimuth=42.0,
        elevation=12.0,
        backdrop="#e6dfec",
    )


def _cow() -> Figure:
    white, black, pink = "#f4f1ec", "#2e2b2b", "#eba7a3"
    patches = both(
        Part("ball", (0.05, 0.95, 0.27), (0.19, 0.16, 0.09), black),
        Part("ball", (-0.42, 0.82, 0.26), (0.16, 0.18, 0.08), black),
        axis=2,
    )
    return Figure(
        (
            Part("ball", (-0.1, 0.82, 0.0), (0.66, 0.33, 0.31), white),
            Part("ball", (0.35, 0.85, 0.0), (0.26, 0.31, 0.27), white),
            *patches,
            rod((0.45, 0.95, 0.0), (0.78, 1.16, 0.0), 0.19, white),
            Part("ball", (0.86, 1.16, 0.0), (0.22, 0.21, 0.19), white),
            Part("ball", (0.88, 1.24, 0.13), (0.12, 0.11, 0.09), black),
            Part("ball", (1.04, 1.05, 0.0), (0.14, 0.13, 0.16), pink),
            *both(
                Part("ball", (1.165, 1.08, 0.06), (0.02, 0.03, 0.022), "#8d4f50"),
                Part("ball", (0.78, 1.25, 0.27), (0.07, 0.06, 0.13), white, (20.0, 0.0, 0.0)),
                rod((0.8, 1.34, 0.1), (0.84, 1.52, 0.19), 0.05, "#e9d9a8", 0.3),
                axis=2,
            ),
            *_eyes((1.02, 1.23, 0.115), 0.04),
            *_legs(0.34, -0.52, 0.19, 0.65, 0.1, white, black),
            Part("ball", (-0.35, 0.52, 0.0), (0.17, 0.12, 0.14), pink),
            rod((-0.73, 0.95, 0.0), (-0.86, 0.5, 0.0), 0.03, white),
            Part("ball", (-0.87, 0.44, 0.0), (0.05, 0.1, 0.05), black),
        ),
        blend=0.05,
        azimuth=36.0,
        elevation=12.0,
        backdrop="#d5e8c8",
    )


def _bird() -> Figure:
    blue, pale, wing, beak = "#3f8fd6", "#f6e4c9", "#2566a8", "#f2a52c"
    return Figure(
        (
            Part("ball", (0.0, 0.58, 0.0), (0.4, 0.3, 0.28), blue, (0.0, 0.0, 22.0)),
            Part("ball", (0.14, 0.52, 0.0), (0.27, 0.25, 0.25), pale, (0.0, 0.0, 22.0)),
            Part("ball", (0.28, 0.9, 0.0), (0.23, 0.22, 0.22), blue),
            Part("ball", (0.4, 0.84, 0.0), (0.11, 0.12, 0.14), pale),
            Part("cone", (0.55, 0.9, 0.0), (0.065, 0.1, 0.006), beak, (0.0, 0.0, -94.0), 0.004),
            *_eyes((0.43, 0.98, 0.125), 0.042),
            *both(
                Part("ball", (-0.08, 0.6, 0.25), (0.36, 0.17, 0.06), wing, (0.0, 12.0, 26.0)),
                rod((0.06, 0.34, 0.1), (0.06, 0.04, 0.1), 0.025, beak),
                rod((0.04, 0.03, 0.1), (0.2, 0.02, 0.14), 0.02, beak),
                rod((0.04, 0.03, 0.1), (0.2, 0.02, 0.06), 0.02, beak),
                axis=2,
            ),
            Part("ball", (-0.5, 0.4, 0.0), (0.34, 0.05, 0.11), wing, (0.0, 0.0, 24.0)),
        ),
        blend=0.035,
        azimuth=32.0,
        backdrop="#fbeccb",
    )


def _rooster() -> Figure:
    body, red, beak, leaf = "#a8471e", "#d9252f", "#f4b63f", "#1f5a4c"
    comb = tuple(
        Part("ball", (x, y, 0.0), (0.07, 0.1, 0.035), red)
        for x, y in ((0.24, 1.2), (0.34, 1.24), (0.43, 1.19))
    )
    tail = tuple(
        Part("ball", (x, y, z), (0.36, 0.07, 0.05), leaf, (0.0, 0.0, turn))
        for x, y, z, turn in (
            (-0.5, 0.9, 0.0, 118),
            (-0.6, 0.8, 0.05, 138),
            (-0.6, 0.68, -0.05, 158),
            (-0.45, 0.98, 0.0, 100),
        )
    )
    return Figure(
        (
            Part("ball", (-0.05, 0.56, 0.0), (0.42, 0.29, 0.27), body, (0.0, 0.0, 14.0)),
            rod((0.18, 0.66, 0.0), (0.34, 1.0, 0.0), 0.2, "#e08a2e", 0.65),
            Part("ball", (0.35, 1.04, 0.0), (0.16, 0.16, 0.15), "#e08a2e"),
            *comb,
            Part("cone", (0.55, 1.03, 0.0), (0.06, 0.09, 0.006), beak, (0.0, 0.0, -98.0), 0.004),
            *both(Part("ball", (0.46, 0.9, 0.04), (0.045, 0.09, 0.03), red), axis=2),
            *_eyes((0.45, 1.08, 0.1), 0.032),
            *both(
                Part("ball", (-0.12, 0.58, 0.24), (0.28, 0.17, 0.06), "#7c2f14", (0.0, 8.0, 14.0)),
                rod((0.0, 0.32, 0.11), (0.0, 0.03, 0.11), 0.032, beak),
                rod((-0.02, 0.03, 0.11), (0.18, 0.025, 0.15), 0.026, beak),
                rod((-0.02, 0.03, 0.11), (0.18, 0.025, 0.07), 0.026, beak),
                axis=2,
            ),
            *tail,
        ),
        blend=0.035,
        azimuth=26.0,
        backdrop="#f7e3bd",
    )


def _frog() -> Figure:
    green, pale = "#4fae3d", "#dcebb0"
    return Figure(
        (
            Part("ball", (0.0, 0.3, 0.0), (0.46, 0.26, 0.36), green, (0.0, 0.0, 14.0)),
            Part("ball", (0.2, 0.24, 0.0), (0.27, 0.2, 0.29), pale),
            Part("ball", (0.33, 0.44, 0.0), (0.27, 0.17, 0.31), green),
            *both(
                Part("ball", (0.36, 0.6, 0.19), (0.11, 0.12, 0.1), green),
                Part("ball", (0.41, 0.62, 0.21), (0.082, 0.09, 0.075), "#f6d94c"),
                Part("ball", (0.478, 0.625, 0.226), (0.03, 0.052, 0.045), DARK),
                Part("ball", (0.57, 0.45, 0.07), (0.014, 0.012, 0.014), "#2f6b26"),
                Part("ball", (-0.2, 0.22, 0.38), (0.3, 0.17, 0.12), green, (0.0, -20.0, 12.0)),
                Part("ball", (-0.05, 0.05, 0.52), (0.2, 0.05, 0.12), green, (0.0, -18.0, 0.0)),
                rod((0.3, 0.25, 0.3), (0.42, 0.05, 0.42), 0.07, green, 0.8),
                Part("ball", (0.48, 0.04, 0.44), (0.13, 0.04, 0.1), green),
                axis=2,
            ),
            Part("ring", (0.34, 0.385, 0.0), (0.262, 0.012, 0.0), "#2f6b26", (0.0, 0.0, 4.0)),
        ),
        blend=0.05,
        azimuth=52.0,
        elevation=18.0,
        backdrop="#cfe3ea",
    )


ANIMALS = {
    "dog": _dog(),
    "cat": _cat(),
    "cow": _cow(),
    "bird": _bird(),
    "rooster": _rooster(),
    "frog": _frog(),
}

"""The gallery's vehicles, as figures: car, ambulance, train, helicopter, airplane, boat.

They drive towards +x and stand on y = 0.
"""

from gallery_maker.solid import Figure, Part, both, rod

TYRE, HUB, GLASS, STEEL = "#26282c", "#c9ced6", "#7fb4d6", "#aab2bd"


def _wheels(xs: tuple[float, ...], apart: float, radius: float) -> tuple[Part, ...]:
    """A pair of wheels at each x."""
    wheels: tuple[Part, ...] = ()
    for x in xs:
        tyre = Part("cone", (x, radius, apart), (radius, 0.07, radius), TYRE, (90.0, 0.0, 0.0), 0.03)
        hub = Part(
            "cone",
            (x, radius, apart + 0.05),
            (radius * 0.55, 0.04, radius * 0.5),
            HUB,
            (90.0, 0.0, 0.0),
            0.01,
        )
        wheels += both(tyre, hub, axis=2)
    return wheels


def _car() -> Figure:
    red = "#d6322f"
    return Figure(
        (
            Part("box", (0.0, 0.36, 0.0), (0.92, 0.17, 0.38), red, rounding=0.1),
            Part("box", (-0.12, 0.66, 0.0), (0.46, 0.17, 0.33), red, rounding=0.08),
            Part("box", (0.3, 0.58, 0.0), (0.12, 0.2, 0.31), red, (0.0, 0.0, 38.0), 0.05),
            Part("box", (-0.52, 0.58, 0.0), (0.12, 0.2, 0.31), red, (0.0, 0.0, -30.0), 0.05),
            Part("box", (-0.32, 0.66, 0.0), (0.16, 0.085, 0.338), GLASS, rounding=0.03),
            Part("box", (0.06, 0.66, 0.0), (0.16, 0.085, 0.338), GLASS, rounding=0.03),
            Part("box", (0.36, 0.65, 0.0), (0.075, 0.13, 0.26), GLASS, (0.0, 0.0, 38.0), 0.02),
            *both(Part("ball", (0.87, 0.4, 0.25), (0.06, 0.07, 0.09), "#fff3c4"), axis=2),
            Part("box", (0.9, 0.28, 0.0), (0.04, 0.05, 0.3), STEEL, rounding=0.02),
            *_wheels((0.52, -0.52), 0.35, 0.2),
        ),
        blend=0.012,
        azimuth=40.0,
        elevation=16.0,
        backdrop="#dbe6ee",
    )


def _ambulance() -> Figure:
    white, red = "#f6f7f8", "#d8262c"
    return Figure(
        (
            Part("box", (-0.22, 0.65, 0.0), (0.66, 0.45, 0.4), white, rounding=0.06),
            Part("box", (0.6, 0.48, 0.0), (0.32, 0.28, 0.38), white, rounding=0.1),
            Part("box", (0.5, 0.76, 0.0), (0.14, 0.13, 0.35), white, (0.0, 0.0, 22.0), 0.05),
            Part("box", (0.63, 0.75, 0.0), (0.02, 0.13, 0.3), GLASS, (0.0, 0.0, 30.0), 0.01),
            Part("box", (0.56, 0.68, 0.0), (0.12, 0.09, 0.385), GLASS, rounding=0.02),
            Part("box", (-0.22, 0.5, 0.0), (0.665, 0.055, 0.405), red, rounding=0.01),
            Part("box", (-0.22, 0.84, 0.0), (0.05, 0.15, 0.41), red, rounding=0.005),
            Part("box", (-0.22, 0.84, 0.0), (0.15, 0.05, 0.41), red, rounding=0.005),
            Part("box", (0.2, 1.15, 0.17), (0.1, 0.06, 0.14), "#2a63e0", rounding=0.03),
            Part("box", (0.2, 1.15, -0.17), (0.1, 0.06, 0.14), red, rounding=0.03),
            *both(Part("ball", (0.91, 0.46, 0.26), (0.04, 0.06, 0.07), "#fff3c4"), axis=2),
            Part("box", (0.91, 0.27, 0.0), (0.05, 0.06, 0.36), "#8d949e", rounding=0.02),
            *_wheels((0.55, -0.5), 0.36, 0.19),
        ),
        blend=0.01,
        azimuth=40.0,
        elevation=14.0,
        backdrop="#e3e1ec",
    )


def _train() -> Figure:
    green, dark, brass = "#1f7a4d", "#23282d", "#d9a441"
    drivers = both(
        *(
            Part("cone", (x, 0.19, 0.32), (0.19, 0.05, 0.19), "#c1272d", (90.0, 0.0, 0.0), 0.02)
            for x in (-0.45, -0.02, 0.41)
        ),
        rod((-0.45, 0.19, 0.39), (0.41, 0.19, 0.39), 0.03, STEEL),
        axis=2,
    )
    rails = both(Part("box", (0.0, -0.03, 0.32), (1.35, 0.03, 0.04), STEEL), axis=2)
    sleepers = tuple(
        Part("box", (x, -0.08, 0.0), (0.07, 0.03, 0.5), "#6b4a30")
        for x in (-1.2, -0.8, -0.4, 0.0, 0.4, 0.8, 1.2)
    )
    return Figure(
        (
            Part("box", (0.0, 0.35, 0.0), (0.95, 0.08, 0.32), dark, rounding=0.03),
            Part("cone", (0.3, 0.66, 0.0), (0.29, 0.55, 0.29), green, (0.0, 0.0, -90.0), 0.03),
            Part("cone", (0.86, 0.66, 0.0), (0.25, 0.05, 0.22), dark, (0.0, 0.0, -90.0), 0.02),
            *(
                Part("ring", (x, 0.66, 0.0), (0.29, 0.022, 0.0), brass, (0.0, 0.0, 90.0))
                for x in (0.0, 0.4, 0.8)
            ),
            Part("box", (-0.58, 0.78, 0.0), (0.34, 0.42, 0.37), green, rounding=0.04),
            Part("box", (-0.58, 1.23, 0.0), (0.42, 0.05, 0.43), "#c1272d", rounding=0.03),
            Part("box", (-0.58, 0.95, 0.0), (0.16, 0.13, 0.38), GLASS, rounding=0.02),
            Part("cone", (0.62, 1.08, 0.0), (0.08, 0.18, 0.13), dark, rounding=0.01),
            Part("ball", (0.15, 0.98, 0.0), (0.12, 0.12, 0.12), brass),
            Part("cone", (0.95, 0.83, 0.0), (0.08, 0.06, 0.08), "#fff3c4", (0.0, 0.0, -90.0), 0.02),
            Part("box", (1.05, 0.22, 0.0), (0.16, 0.12, 0.32), "#c1272d", (0.0, 0.0, -35.0), 0.03),
            *drivers,
            *rails,
            *sleepers,
        ),
        blend=0.008,
        azimuth=42.0,
        elevation=16.0,
        backdrop="#e8e3d3",
    )


def _helicopter() -> Figure:
    body, dark = "#e8a51d", "#3a3f47"
    blades = tuple(
        Part("box", (0.05, 1.16, 0.0), (1.1, 0.012, 0.06), dark, (0.0, turn, 0.0)) for turn in (20.0, 110.0)
    )
    return Figure(
        (
            Part("ball", (0.1, 0.62, 0.0), (0.5, 0.34, 0.32), body),
            Part("ball", (0.3, 0.66, 0.0), (0.34, 0.27, 0.27), GLASS),
            rod((-0.2, 0.72, 0.0), (-1.15, 0.84, 0.0), 0.14, body, 0.35),
            Part("box", (-1.15, 0.98, 0.0), (0.09, 0.2, 0.025), body, (0.0, 0.0, 20.0), 0.02),
            Part("box", (-1.15, 0.84, 0.09), (0.27, 0.03, 0.012), dark, (0.0, 0.0, 40.0)),
            Part("box", (-1.15, 0.84, 0.09), (0.27, 0.03, 0.012), dark, (0.0, 0.0, 130.0)),
            Part("cone", (0.05, 1.03, 0.0), (0.06, 0.13, 0.04), dark),
            Part("box", (0.0, 0.94, 0.0), (0.22, 0.06, 0.14), body, rounding=0.05),
            *blades,
            *both(
                rod((-0.4, 0.06, 0.32), (0.6, 0.06, 0.32), 0.035, dark),
                rod((0.3, 0.06, 0.32), (0.22, 0.45, 0.18), 0.028, dark),
                rod((-0.2, 0.06, 0.32), (-0.12, 0.45, 0.18), 0.028, dark),
                axis=2,
            ),
        ),
        blend=0.02,
        azimuth=32.0,
        elevation=16.0,
        backdrop="#cfe0f0",
        floats=True,
    )


def _airplane() -> Figure:
    white, blue, engine = "#f3f5f8", "#2b62b8", "#8e98a6"
    return Figure(
        (
            rod((0.9, 0.0, 0.0), (-0.75, 0.0, 0.0), 0.155, white),
            Part("ball", (0.88, 0.0, 0.0), (0.3, 0.155, 0.155), white),
            rod((-0.7, 0.0, 0.0), (-1.2, 0.08, 0.0), 0.15, white, 0.3),
            Part("box", (1.0, 0.075, 0.0), (0.07, 0.035, 0.1), "#26323f", (0.0, 0.0, -18.0), 0.02),
            *both(
                Part("box", (-0.08, -0.05, 0.62), (0.16, 0.02, 0.58), white, (0.0, -28.0, 0.0), 0.015),
                Part("box", (-0.36, -0.04, 1.13), (0.1, 0.02, 0.06), blue, (0.0, -28.0, 0.0), 0.015),
                Part("box", (-1.1, 0.1, 0.26), (0.1, 0.015, 0.24), blue, (0.0, -26.0, 0.0), 0.01),
                Part("cone", (0.12, -0.15, 0.42), (0.07, 0.16, 0.085), engine, (0.0, 0.0, -90.0), 0.02),
                *(
                    Part("ball", (x, 0.05, 0.145), (0.028, 0.032, 0.02), "#33475e")
                    for x in (0.7, 0.5, 0.3, 0.1, -0.1, -0.3, -0.5)
                ),
                axis=2,
            ),
            Part("box", (-1.12, 0.3, 0.0), (0.12, 0.24, 0.016), blue, (0.0, 0.0, 24.0), 0.012),
        ),
        blend=0.015,
        azimuth=48.0,
        elevation=22.0,
        backdrop="#c4def2",
        floats=True,
    )


def _boat() -> Figure:
    wood, sail, sea = "#8c5328", "#fbfaf5", "#3f93bd"
    hull = Part("ball", (0.0, 0.2, 0.0), (0.85, 0.3, 0.3), wood)
    rows = [row / 14 for row in range(14)]
    panels = tuple(
        Part(
            "box",
            (-0.06 - 0.31 * (1 - row), 0.56 + 1.25 * row, 0.0),
            (0.31 * (1 - row) + 0.01, 0.06, 0.014),
            "#e2574c" if 0.3 < row < 0.5 else sail,
        )
        for row in rows
    )
    jib = tuple(
        Part(
            "box",
            (0.04 + 0.27 * (1 - row), 0.56 + 1.0 * row, 0.0),
            (0.26 * (1 - row) + 0.01, 0.05, 0.014),
            sail,
        )
        for row in rows
    )
    waves = tuple(
        Part("ball", (x, -0.03, z), (0.5, 0.1, 0.16), sea)
        for x in (-0.8, 0.0, 0.8)
        for z in (-0.5, -0.15, 0.2, 0.55)
    )
    return Figure(
        (
            hull,
            Part("box", (0.0, 0.4, 0.0), (0.74, 0.05, 0.22), "#e7c48f", rounding=0.04),
            rod((-0.02, 0.3, 0.0), (-0.02, 1.95, 0.0), 0.035, "#5d3a1e", 0.6),
            rod((-0.02, 0.46, 0.0), (-0.7, 0.46, 0.0), 0.025, "#5d3a1e"),
            *panels,
            *jib,
            Part("box", (0.0, -0.08, 0.0), (1.25, 0.1, 0.75), sea, rounding=0.06),
            *waves,
        ),
        blend=0.03,
        azimuth=24.0,
        elevation=12.0,
        backdrop="#d4e9f4",
        floats=True,
    )


VEHICLES = {
    "car": _car(),
    "ambulance": _ambulance(),
    "train": _train(),
    "helicopter": _helicopter(),
    "airplane": _airplane(),
    "boat": _boat(),
}

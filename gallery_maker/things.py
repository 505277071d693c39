"""The gallery's objects and weather, as figures: bell, clock, cloud, fire, door, keyboard, phone, sword, ...

They face +z and stand on y = 0 unless they float.
"""

import math

from gallery_maker.solid import Figure, Part, both, rod

GOLD, STEEL, WOOD, DARK = "#d9a32b", "#c3cad3", "#93602f", "#2a2c31"


def _bell() -> Figure:
    return Figure(
        (
            Part("cone", (0.0, 0.2, 0.0), (0.58, 0.14, 0.42), GOLD, rounding=0.03),
            Part("cone", (0.0, 0.55, 0.0), (0.42, 0.26, 0.3), GOLD, rounding=0.03),
            Part("ball", (0.0, 0.78, 0.0), (0.3, 0.2, 0.3), GOLD),
            Part("ring", (0.0, 0.08, 0.0), (0.56, 0.055, 0.0), "#b9821a"),
            Part("ring", (0.0, 0.62, 0.0), (0.375, 0.02, 0.0), "#b9821a"),
            Part("ring", (0.0, 1.06, 0.0), (0.1, 0.035, 0.0), "#b9821a", (90.0, 0.0, 0.0)),
            Part("ball", (0.0, 0.02, 0.0), (0.13, 0.13, 0.13), "#7c5713"),
        ),
        blend=0.05,
        elevation=8.0,
        backdrop="#e9e2f0",
    )


def _clock() -> Figure:
    ticks = tuple(
        Part(
            "box",
            (0.5 * math.sin(math.radians(a)), 0.72 + 0.5 * math.cos(math.radians(a)), 0.14),
            (0.018, 0.05, 0.012),
            DARK,
            (0.0, 0.0, -float(a)),
        )
        for a in range(0, 360, 30)
    )
    return Figure(
        (
            Part("cone", (0.0, 0.72, 0.0), (0.66, 0.13, 0.66), "#c8322f", (90.0, 0.0, 0.0), 0.05),
            Part("cone", (0.0, 0.72, 0.03), (0.58, 0.115, 0.58), "#fbf8ef", (90.0, 0.0, 0.0), 0.01),
            *ticks,
            rod((0.0, 0.72, 0.17), (-0.2, 0.92, 0.17), 0.032, DARK),
            rod((0.0, 0.72, 0.19), (0.26, 1.08, 0.19), 0.024, DARK),
            Part("ball", (0.0, 0.72, 0.19), (0.045, 0.045, 0.03), "#c8322f"),
            *both(
                Part("ball", (0.42, 1.36, 0.0), (0.24, 0.15, 0.15), GOLD, (0.0, 0.0, -38.0)),
                rod((0.33, 1.2, 0.0), (0.42, 1.34, 0.0), 0.04, DARK),
                rod((0.36, 0.2, 0.0), (0.48, 0.02, 0.0), 0.06, DARK, 0.7),
            ),
            rod((0.0, 1.34, 0.0), (0.0, 1.5, 0.0), 0.03, DARK),
            Part("ball", (0.0, 1.52, 0.0), (0.09, 0.06, 0.06), DARK),
        ),
        blend=0.012,
        azimuth=18.0,
        elevation=8.0,
        backdrop="#d9ebe6",
    )


def _puffs(colour: str) -> tuple[Part, ...]:
    """A cloud over y = 0.8."""
    places = (
        (-0.55, 1.05, 0.28),
        (-0.2, 1.25, 0.38),
        (0.25, 1.2, 0.36),
        (0.6, 1.02, 0.27),
        (0.0, 0.98, 0.33),
        (-0.3, 0.98, 0.26),
        (0.35, 0.97, 0.26),
    )
    return tuple(Part("ball", (x, y, 0.0), (r, r * 0.85, r * 0.9), colour) for x, y, r in places)


def _rain() -> Figure:
    drops = tuple(
        part
        for x, y in (
            (-0.55, 0.45),
            (-0.3, 0.18),
            (-0.05, 0.48),
            (0.2, 0.15),
            (0.42, 0.46),
            (0.62, 0.2),
            (-0.68, 0.05),
        )
        for part in (
            Part("ball", (x, y, 0.05), (0.055, 0.075, 0.055), "#3b8fe0"),
            Part("cone", (x, y + 0.1, 0.05), (0.042, 0.09, 0.004), "#3b8fe0", rounding=0.003),
        )
    )
    return Figure(
        (*_puffs("#8f9bab"), *drops), blend=0.05, azimuth=12.0, elevation=4.0, backdrop="#c9d6e4", floats=True
    )


def _storm() -> Figure:
    bolt = tuple(
        Part("box", (x, y, 0.06), (0.085, 0.2, 0.05), "#ffcf24", (0.0, 0.0, turn), 0.02)
        for x, y, turn in ((0.02, 0.62, -24.0), (0.02, 0.36, 52.0), (-0.03, 0.1, -24.0))
    )
    tip = Part("cone", (-0.14, -0.14, 0.06), (0.006, 0.12, 0.08), "#ffcf24", (0.0, 0.0, -26.0), 0.005)
    return Figure(
        (*_puffs("#565e70"), *bolt, tip),
        blend=0.04,
        azimuth=12.0,
        elevation=4.0,
        backdrop="#aab4cc",
        floats=True,
    )


def _fire() -> Figure:
    logs = tuple(
        Part("cone", (0.0, 0.1, 0.0), (0.09, 0.55, 0.09), "#7a4a25", (90.0, turn, 0.0), 0.03)
        for turn in (35.0, 95.0, 155.0)
    )
    flames = tuple(
        part
        for x, z, high, radius, colour in (
            (0.0, 0.0, 0.62, 0.3, "#f4511e"),
            (-0.22, 0.05, 0.42, 0.19, "#fb6a1d"),
            (0.22, 0.04, 0.46, 0.2, "#fb6a1d"),
            (0.02, 0.2, 0.4, 0.2, "#ff9d1c"),
            (-0.1, 0.27, 0.27, 0.12, "#ffc933"),
            (0.1, 0.29, 0.3, 0.12, "#ffd84f"),
        )
        for part in (
            Part("ball", (x, 0.18 + radius, z), (radius, radius * 1.2, radius), colour),
            Part(
                "cone",
                (x * 0.8, 0.18 + radius + high * 0.75, z),
                (radius * 0.8, high * 0.7, 0.01),
                colour,
                (0.0, 0.0, x * 60),
                0.008,
            ),
        )
    )
    stones = tuple(
        Part("ball", (0.66 * math.cos(a), 0.07, 0.66 * math.sin(a)), (0.15, 0.11, 0.15), "#8b8f96")
        for a in (math.tau * step / 10 for step in range(10))
    )
    return Figure((*logs, *flames, *stones), blend=0.06, elevation=14.0, backdrop="#39405a")


def _door() -> Figure:
    panel = tuple(
        Part("box", (x, y, 0.07), (0.2, high, 0.02), "#7d4e24", rounding=0.02)
        for x in (-0.25, 0.25)
        for y, high in ((0.42, 0.28), (1.2, 0.42))
    )
    return Figure(
        (
            Part("box", (0.0, 0.95, 0.0), (0.55, 0.9, 0.06), "#a4692f", rounding=0.02),
            *panel,
            *both(Part("box", (0.62, 0.97, 0.0), (0.08, 0.97, 0.1), "#f0e6d3", rounding=0.02)),
            Part("box", (0.0, 1.92, 0.0), (0.7, 0.08, 0.1), "#f0e6d3", rounding=0.02),
            Part("box", (0.0, 0.03, 0.05), (0.7, 0.03, 0.2), "#b9b2a6", rounding=0.01),
            Part("ball", (0.44, 0.9, 0.15), (0.06, 0.06, 0.06), GOLD),
            Part("cone", (0.44, 0.9, 0.09), (0.025, 0.06, 0.025), GOLD, (90.0, 0.0, 0.0)),
        ),
        blend=0.004,
        azimuth=26.0,
        elevation=6.0,
        backdrop="#dfe8dc",
    )


def _keyboard() -> Figure:
    keys = tuple(
        Part(
            "box",
            (-0.77 + 0.14 * column, 0.16, -0.24 + 0.14 * row),
            (0.056, 0.05, 0.056),
            "#eef0f3",
            rounding=0.02,
        )
        for row in range(4)
        for column in range(12)
    )
    return Figure(
        (
            Part("box", (0.0, 0.06, 0.02), (0.92, 0.06, 0.42), "#3c424d", rounding=0.05),
            *keys,
            Part("box", (0.0, 0.16, 0.32), (0.42, 0.05, 0.056), "#eef0f3", rounding=0.02),
            *both(Part("box", (0.63, 0.16, 0.32), (0.13, 0.05, 0.056), "#f08a5d", rounding=0.02)),
        ),
        azimuth=20.0,
        elevation=38.0,
        backdrop="#dfe2ec",
    )


def _phone() -> Figure:
    red = "#cf2f2f"
    holes = tuple(
        Part(
            "ball",
            (0.2 * math.cos(a), 0.42 + 0.17 * math.sin(a), 0.37 - 0.08 * math.sin(a)),
            (0.045, 0.045, 0.03),
            "#5c1414",
        )
        for a in (math.tau * step / 10 for step in range(10))
    )
    return Figure(
        (
            Part("cone", (0.0, 0.26, 0.0), (0.72, 0.26, 0.34), red, rounding=0.06),
            Part("box", (0.0, 0.05, 0.0), (0.58, 0.05, 0.5), red, rounding=0.04),
            Part("cone", (0.0, 0.42, 0.3), (0.3, 0.05, 0.29), "#f4ead8", (65.0, 0.0, 0.0), 0.02),
            Part("cone", (0.0, 0.44, 0.36), (0.1, 0.03, 0.09), red, (65.0, 0.0, 0.0), 0.01),
            *holes,
            *both(
                Part("box", (0.24, 0.6, 0.0), (0.06, 0.12, 0.12), red, rounding=0.03),
                Part("cone", (0.62, 0.72, 0.0), (0.24, 0.1, 0.17), red, (0.0, 0.0, 14.0), 0.05),
            ),
            rod((-0.6, 0.83, 0.0), (0.6, 0.83, 0.0), 0.11, red),
        ),
        blend=0.03,
        azimuth=20.0,
        elevation=20.0,
        backdrop="#e6ece0",
    )


def _sword() -> Figure:
    return Figure(
        (
            Part("box", (0.0, 0.95, 0.0), (0.1, 0.62, 0.025), STEEL, rounding=0.02),
            Part("cone", (0.0, 1.66, 0.0), (0.098, 0.12, 0.004), STEEL, rounding=0.003),
            Part("box", (0.0, 0.95, 0.0), (0.018, 0.55, 0.035), "#8d97a5", rounding=0.01),
            Part("box", (0.0, 0.32, 0.0), (0.34, 0.05, 0.06), GOLD, rounding=0.03),
            *both(Part("ball", (0.36, 0.33, 0.0), (0.07, 0.07, 0.07), GOLD)),
            rod((0.0, 0.3, 0.0), (0.0, -0.02, 0.0), 0.06, "#6a3820"),
            *(Part("ring", (0.0, y, 0.0), (0.058, 0.014, 0.0), "#3f1f10") for y in (0.05, 0.12, 0.19)),
            Part("ball", (0.0, -0.07, 0.0), (0.09, 0.09, 0.09), GOLD),
            Part("ball", (0.0, 0.32, 0.06), (0.045, 0.045, 0.03), "#c0212e"),
        ),
        blend=0.008,
        azimuth=24.0,
        elevation=4.0,
        backdrop="#dcd9e6",
        floats=True,
    )


def _bottle() -> Figure:
    green = "#2f7d4a"
    return Figure(
        (
            Part("cone", (0.0, 0.5, 0.0), (0.3, 0.5, 0.3), green, rounding=0.06),
            Part("cone", (0.0, 1.14, 0.0), (0.29, 0.18, 0.1), green, rounding=0.03),
            Part("cone", (0.0, 1.42, 0.0), (0.1, 0.24, 0.09), green, rounding=0.01),
            Part("ring", (0.0, 1.6, 0.0), (0.095, 0.03, 0.0), green),
            Part("cone", (0.0, 1.7, 0.0), (0.07, 0.07, 0.075), "#c79a63", rounding=0.01),
            Part("cone", (0.0, 0.5, 0.0), (0.306, 0.26, 0.306), "#f2e7c9", rounding=0.01),
            Part("cone", (0.0, 0.56, 0.0), (0.309, 0.06, 0.309), "#a8322f", rounding=0.005),
        ),
        blend=0.03,
        elevation=8.0,
        backdrop="#ece6da",
    )


THINGS = {
    "bell": _bell(),
    "clock": _clock(),
    "rain": _rain(),
    "storm": _storm(),
    "fire": _fire(),
    "door": _door(),
    "keyboard": _keyboard(),
    "phone": _phone(),
    "sword": _sword(),
    "bottle": _bottle(),
}

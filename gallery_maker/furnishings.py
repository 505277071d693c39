"""Figures the gallery has as shapes rather than pictures: chair, table, lamp, bed, house, tree, robot.

They face +z and stand on y = 0.
"""

from gallery_maker.solid import Figure, Part, both, rod

WOOD, PALE = "#9a6735", "#e9dfcc"


def _legs(x: float, z: float, height: float, radius: float) -> tuple[Part, ...]:
    """Four straight legs."""
    return both(*both(rod((x, height, z), (x, 0.0, z), radius, WOOD, 0.8)), axis=2)


def _chair() -> Figure:
    slats = tuple(Part("box", (x, 0.8, -0.27), (0.035, 0.3, 0.02), WOOD) for x in (-0.16, 0.0, 0.16))
    return Figure(
        (
            Part("box", (0.0, 0.5, 0.0), (0.33, 0.04, 0.31), WOOD),
            *_legs(0.28, 0.26, 0.48, 0.045),
            *both(rod((0.29, 0.5, -0.27), (0.29, 1.15, -0.3), 0.04, WOOD)),
            Part("box", (0.0, 1.1, -0.3), (0.33, 0.08, 0.03), WOOD),
            *slats,
        )
    )


def _table() -> Figure:
    rails = both(Part("box", (0.0, 0.63, 0.38), (0.62, 0.06, 0.02), WOOD), axis=2)
    return Figure(
        (Part("box", (0.0, 0.73, 0.0), (0.8, 0.04, 0.5), WOOD), *_legs(0.68, 0.4, 0.7, 0.055), *rails)
    )


def _lamp() -> Figure:
    return Figure(
        (
            Part("cone", (0.0, 0.04, 0.0), (0.26, 0.04, 0.24), "#3a3d44"),
            rod((0.0, 0.05, 0.0), (0.0, 1.05, 0.0), 0.035, "#3a3d44"),
            Part("cone", (0.0, 1.15, 0.0), (0.42, 0.22, 0.22), PALE),
        )
    )


def _bed() -> Figure:
    return Figure(
        (
            Part("box", (0.0, 0.28, 0.0), (0.55, 0.08, 1.0), WOOD),
            Part("box", (0.0, 0.42, 0.0), (0.52, 0.1, 0.96), "#f4f4f6"),
            Part("box", (0.0, 0.47, 0.25), (0.54, 0.1, 0.7), "#4a78b5"),
            *both(Part("box", (0.25, 0.57, -0.72), (0.2, 0.06, 0.15), "#ffffff")),
            Part("box", (0.0, 0.55, -1.0), (0.57, 0.5, 0.05), WOOD),
            Part("box", (0.0, 0.35, 1.0), (0.57, 0.28, 0.05), WOOD),
            *_legs(0.5, 0.94, 0.25, 0.05),
        )
    )


def _house() -> Figure:
    roof = tuple(
        Part("box", (0.0, 1.16, side * 0.34), (0.78, 0.05, 0.52), "#b4482f", (side * 42.0, 0.0, 0.0))
        for side in (1, -1)
    )
    gables = tuple(
        Part("box", (0.0, 0.85 + 0.15 * row, 0.0), (0.64, 0.09, 0.5 - 0.15 * row), PALE) for row in range(4)
    )
    return Figure(
        (
            Part("box", (0.0, 0.42, 0.0), (0.65, 0.42, 0.58), PALE),
            *gables,
            *roof,
            Part("box", (0.0, 0.28, 0.59), (0.13, 0.28, 0.02), "#6d4321"),
            *both(Part("box", (0.4, 0.48, 0.59), (0.13, 0.13, 0.02), "#7fb4d6")),
            Part("box", (0.36, 1.4, -0.2), (0.09, 0.25, 0.09), "#8c4332"),
        )
    )


def _tree() -> Figure:
    crown = tuple(
        Part("ball", (x, y, z), (r, r * 0.9, r), colour)
        for x, y, z, r, colour in (
            (0.0, 1.5, 0.0, 0.5, "#3f8f3d"),
            (0.36, 1.25, 0.1, 0.38, "#4a9c42"),
            (-0.36, 1.22, -0.08, 0.4, "#37823a"),
            (0.05, 1.15, 0.36, 0.36, "#57a84a"),
            (-0.02, 1.18, -0.36, 0.36, "#3f8f3d"),
        )
    )
    return Figure(
        (
            rod((0.0, 0.0, 0.0), (0.0, 1.1, 0.0), 0.15, "#6f4a2a", 0.6),
            rod((0.0, 0.7, 0.0), (0.3, 1.1, 0.08), 0.07, "#6f4a2a", 0.6),
            rod((0.0, 0.75, 0.0), (-0.3, 1.1, -0.06), 0.07, "#6f4a2a", 0.6),
            *crown,
        )
    )


def _robot() -> Figure:
    grey, blue = "#aeb6c2", "#3f7fc1"
    return Figure(
        (
            Part("box", (0.0, 0.85, 0.0), (0.34, 0.36, 0.22), blue),
            Part("box", (0.0, 1.5, 0.0), (0.28, 0.22, 0.22), grey),
            rod((0.0, 1.2, 0.0), (0.0, 1.3, 0.0), 0.09, "#5b6470"),
            *both(
                Part("cone", (0.12, 1.54, 0.22), (0.07, 0.03, 0.07), "#f4e04d", (90.0, 0.0, 0.0)),
                rod((0.36, 1.1, 0.0), (0.56, 0.62, 0.05), 0.085, grey),
                Part("ball", (0.58, 0.55, 0.06), (0.11, 0.11, 0.11), "#5b6470"),
                rod((0.17, 0.5, 0.0), (0.18, 0.12, 0.0), 0.1, grey),
                Part("box", (0.18, 0.06, 0.06), (0.13, 0.06, 0.2), "#5b6470"),
            ),
            Part("box", (0.0, 1.4, 0.22), (0.13, 0.025, 0.015), "#2a2c31"),
            rod((0.0, 1.7, 0.0), (0.0, 1.9, 0.0), 0.02, "#5b6470"),
            Part("ball", (0.0, 1.93, 0.0), (0.06, 0.06, 0.06), "#d6322f"),
        )
    )


FURNISHINGS = {
    "chair": _chair(),
    "table": _table(),
    "lamp": _lamp(),
    "bed": _bed(),
    "house": _house(),
    "tree": _tree(),
    "robot": _robot(),
}

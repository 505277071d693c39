"""The plan of a compact bundle: sizes, seeds and lengths of training, in one place.

`FULL` is what the shipped bundle was made with; `QUICK` goes through the same motions in a minute on
little data, for tests and for trying a change.
"""

from dataclasses import dataclass

DIM = 256
"""Length of every compact space's vectors."""

WORD_TRUNK = {"dim": 128, "layers": 2, "heads": 4, "hidden": 256, "features": DIM}
PICTURE_TRUNK = {
    "channels": 3,
    "opening": [32, 16, 24],
    "blocks": [
        [24, 1], [32, 2], [32, 1], [32, 1], [64, 2], [64, 1], [64, 1], [64, 1],
        [96, 1], [96, 1], [96, 1], [160, 2], [160, 1], [160, 1],
    ],
    "neck": 320,
    "features": 1280,
}  # fmt: skip
SOUND_TRUNK = {"channels": 1, "widths": [32, 64, 128, 256], "blocks": [1, 2, 2, 1], "features": 1024}
SHAPE_TRUNK = {"width": 128, "features": 512}

THIN_STAGES = 6
"""Of the picture trunk's stages, those whose maps have less than 64 channels. They get many steps, which cost
little: what they get wrong, all stages after them suffer from."""

PICTURE_STAGES = len(PICTURE_TRUNK["blocks"]) + 2  # type: ignore[arg-type]
"""All of them: the blocks, and a stage at either end."""

PICTURE_SHARES = {"photo": 1.3, "emoji": 3.0, "render": 0.5}
"""How often a picture of each kind is drawn for a view, relative to each other."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Lengths of training; every random choice hangs on `seed`.

    `stage_steps`: for the picture trunk's thin stages, and for the others.
    """

    picture_views: int
    stage_views: int
    stage_steps: tuple[int, int]
    picture_refining: float
    sound_views: int
    sound_epochs: float
    sound_refining: float
    vocabulary: int
    word_steps: int
    head_steps: int
    shape_epochs: int
    connector_epochs: int
    seed: int = 0


FULL = Plan(
    picture_views=24_576,
    stage_views=6_144,
    stage_steps=(8000, 2500),
    picture_refining=1.25,
    sound_views=65_536,
    sound_epochs=4.0,
    sound_refining=1.0,
    vocabulary=16_384,
    word_steps=2500,
    head_steps=1500,
    shape_epochs=30,
    connector_epochs=5,
)
QUICK = Plan(
    picture_views=512,
    stage_views=256,
    stage_steps=(10, 10),
    picture_refining=1.0,
    sound_views=512,
    sound_epochs=1.0,
    sound_refining=1.0,
    vocabulary=4000,
    word_steps=20,
    head_steps=40,
    shape_epochs=1,
    connector_epochs=2,
)

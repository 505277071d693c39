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
SOUND_TRUNK = {
    "channels": 1,
    "opening": [32, 24, 128, 128],
    "wide": [[128, 1, 256], [256, 2, 256], [256, 1, 384], [512, 2, 320]],
    "deep": [
        [512, 1, 256], [512, 1, 256], [512, 1, 256], [512, 1, 128], [512, 1, 96],
        [1024, 2, 128], [1024, 1, 224],
    ],
}  # fmt: skip
SHAPE_TRUNK = {"width": 128, "features": 512}

STAGES = {
    "pictures": len(PICTURE_TRUNK["blocks"]) + 2,  # type: ignore[arg-type]
    "sounds": len(SOUND_TRUNK["wide"]) + len(SOUND_TRUNK["deep"]) + 1,  # type: ignore[arg-type]
}
"""Of each trunk, how many: its blocks, a stage before them, and of pictures one after."""

THIN_STAGES = {"pictures": 6, "sounds": 1}
"""Those at the front, whose maps have few channels. They get many steps, which cost little: what they get
wrong, all stages after them suffer from."""

STAGE_NOISE = {"pictures": 0.1, "sounds": 0.0}
"""Noise on what a stage is shown, in shares of a channel's spread. The sound teacher's maps are of few
dimensions among their 512 channels, and noise in all of them drowns what is there."""

PICTURE_SHARES = {"photo": 1.3, "emoji": 3.0, "render": 0.5}
"""How often a picture of each kind is drawn for a view, relative to each other."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Lengths of training; every random choice hangs on `seed`.

    Of a pool's views, so many become maps that stages are taught on. `stage_steps`: for a trunk's thin
    stages, and for the others. Refining is in passes over a pool.
    """

    picture_views: int
    picture_maps: int
    picture_refining: float
    sound_views: int
    sound_maps: int
    sound_refining: float
    stage_steps: tuple[int, int]
    vocabulary: int
    word_steps: int
    head_steps: int
    shape_epochs: int
    connector_epochs: int
    seed: int = 0


FULL = Plan(
    picture_views=24_576,
    picture_maps=6_144,
    picture_refining=1.25,
    sound_views=49_152,
    sound_maps=8_192,
    sound_refining=1.5,
    stage_steps=(8000, 2500),
    vocabulary=16_384,
    word_steps=2500,
    head_steps=1500,
    shape_epochs=30,
    connector_epochs=5,
)
QUICK = Plan(
    picture_views=512,
    picture_maps=256,
    picture_refining=1.0,
    sound_views=512,
    sound_maps=256,
    sound_refining=1.0,
    stage_steps=(10, 10),
    vocabulary=4000,
    word_steps=20,
    head_steps=40,
    shape_epochs=1,
    connector_epochs=2,
)

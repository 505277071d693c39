"""The plan of a compact bundle: sizes, seeds and lengths of training, in one place.

`FULL` is what the shipped bundle was made with; `QUICK` goes through the same motions in a minute on
little data, for tests and for trying a change.
"""

from dataclasses import dataclass

DIM = 256
"""Length of every compact space's vectors."""

WORD_TRUNK = {"dim": 128, "layers": 2, "heads": 4, "hidden": 256, "features": DIM}
PICTURE_TRUNK = {"channels": 3, "widths": [32, 64, 128, 256], "blocks": [1, 2, 3, 1], "features": 1280}
SOUND_TRUNK = {"channels": 1, "widths": [32, 64, 128, 256], "blocks": [1, 2, 2, 1], "features": 1024}
SHAPE_TRUNK = {"width": 128, "features": 512}

PICTURE_SHARES = {"photo": 1.3, "emoji": 3.0, "render": 0.5}
"""How often a picture of each kind is drawn for a view, relative to each other."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Lengths of training; every random choice hangs on `seed`."""

    picture_views: int
    picture_epochs: float
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
    picture_views=49_152,
    picture_epochs=5.0,
    picture_refining=1.0,
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
    picture_epochs=1.0,
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

"""Recipes side by side on the same features: Ex-MCR and C-MCR as published, the default, the closed forms.

    python benchmarks/recipes.py [--quick] [--json] [--seeds N] [--data DIR [--work DIR] [--epochs N]]

On simulated spaces, and with --data on the compact bundle's own features: the memories its connectors were
made from and its held-out media, from the work folder that `make train-compact` left. A seed decides what
training draws; on simulated spaces it decides the space too. Every table of scores is followed by one of
margins. --quick is one seed of the simulated spaces, with 12 epochs for every recipe.
"""

# ruff: noqa: E402
import sys
from pathlib import Path

# Started as a script, this file's folder comes first in the path and would hide the package it measures.
HERE = Path(__file__).resolve().parent
sys.path[:] = [str(HERE.parent), *(entry for entry in sys.path if Path(entry).resolve() != HERE)]

import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console

from benchmarks._findings import Findings, Scores
from benchmarks._rows import machine, parser, print_json
from connectors.bundle import bundle_directory
from connectors.connector import Connector
from connectors.encoders.compact.encoder import load_compact
from training.compact.build import SPACES
from training.compact.held_out import read_views
from training.compact.links import LinkMaker
from training.compact.plan import FULL
from training.compact.workshop import Workshop
from training.connection import connect
from training.pseudo_pair_store import PseudoPairStore
from training.ranking import standing
from training.recipe import load_recipe
from training.simulate import World, simulate

WORLD = World(dim=64, overlap_items=4000, base_items=2000, leaf_items=2000)
OURS, PUBLISHED = "default", "exmcr-paper"
BASELINES = ("ridge", "procrustes")

NAMES = {
    "base_overlap": "clip/text",
    "leaf_overlap": "clap/text",
    "base_other": "clip/image",
    "leaf_other": "clap/audio",
}
"""The simulated spaces' roles as a recipe names them."""

SMALL_NOISE = {"exmcr-paper": 0.004 * 8, "cmcr-paper": 0.004 * 8, "default": 0.00075 * 8}
"""sigma^2 at 64 dimensions where the recipes mean 512: the noise's length stays as it is."""

SHAPES = {"exmcr-paper": "exmcr-paper-ulip", "cmcr-paper": None, "default": "default-ulip"}
"""The recipe for shapes that goes with one for sounds; two C-MCR spaces are not one."""

WORKERS = 2
"""Processes that train side by side, of one thread each: products this small leave a second one waiting."""

Found = Mapping[str, Scores]
"""Scores by system."""


def sizes(hidden: int, batch: int, epochs: int, seed: int) -> dict[str, Any]:
    """Sizes that suit small spaces, the same for every recipe."""
    return {
        "projector": {"hidden": hidden},
        "optim": {"epochs": epochs, "batch_size": batch, "seed": seed},
    }


def simulated(recipe: str, epochs: int, seed: int) -> Found:
    """R@1 of each of 500 items, both ways; chance is 0.2. The default's run gives the closed forms too."""
    world = simulate(WORLD, seed)
    features = {name: getattr(world.memories, role) for role, name in NAMES.items()}
    pairs = {
        "audio-image": ("leaf_other", "base_other"),
        "audio-text": ("leaf_other", "base_overlap"),
        "text-image": ("leaf_overlap", "base_other"),
    }

    def scores(connector: Connector) -> Scores:
        unified = {role: connector.project(*NAMES[role].split("/"), world.test[role]) for role in NAMES}
        rows = torch.arange(len(world.labels))

        def found(first: str, second: str) -> npt.NDArray[np.float64]:
            hits = standing(unified[first], unified[second], rows, rows, (1,)).recall[1]
            return 100 * hits.numpy()

        return {name: (found(a, b) + found(b, a)) / 2 for name, (a, b) in pairs.items()}

    overrides = sizes(128, 256, epochs, seed)
    overrides["loss"] = {"noise_variance": SMALL_NOISE[recipe]}
    made = connect(load_recipe(recipe, overrides), features)
    closed = made.baselines if (recipe, epochs) == (OURS, 12) else {}
    named = {f"{recipe}, {epochs} epochs": made.connector, **closed}
    return {name: scores(connector) for name, connector in named.items()}


@dataclass(frozen=True, slots=True)
class Shown:
    """Native vectors [n, d] of one modality, with the concept and the recording or mesh of each row."""

    space: str
    modality: str
    vectors: npt.NDArray[np.float32]
    concepts: Sequence[str]
    groups: Sequence[str]


@dataclass(frozen=True, slots=True)
class CompactFeatures:
    """Memories that connect sounds and shapes, and what is retrieved, by name."""

    sounds: Mapping[str, npt.NDArray[np.float32]]
    shapes: Mapping[str, npt.NDArray[np.float32]]
    shown: Mapping[str, Shown]


COLUMNS = {
    "audio->image": ("audio", "image"),
    "image->audio": ("image", "audio"),
    "audio->trained-on image": ("audio", "trained"),
    "audio->3D": ("audio", "3D"),
    "3D->audio": ("3D", "audio"),
    "image->3D": ("image", "3D"),
    "3D->image": ("3D", "image"),
}
"""What asks for what, by concept, on the compact bundle's features."""


def read_compact(data: Path, work: Path) -> CompactFeatures:
    """The compact bundle's features, through the encoders it ships."""
    shop = Workshop(data, work, FULL)
    encoders = {space: load_compact(bundle_directory("compact") / "encoders" / space) for space in SPACES}
    maker = LinkMaker(shop, encoders)
    sounds, shapes = maker.sound_features(), maker.shape_features()
    held = read_views(shop, encoders)
    parts = {
        "audio": ("clap/audio", held["clap/audio"], shop.clips[1]),
        "image": ("clip/image", held["clip/image"], shop.pictures[1]),
        "3D": ("ulip/point_cloud", held["ulip/point_cloud"], shop.clouds[1]),
        "trained": ("clip/image", maker.gallery(), shop.pictures[0]),
    }
    shown = {
        name: Shown(*role.split("/"), view.vectors.numpy(), view.concepts, [item.group for item in items])
        for name, (role, view, items) in parts.items()
    }
    memories = ({name: rows.numpy() for name, rows in part.items()} for part in (sounds, shapes))
    return CompactFeatures(*memories, shown)


def asked(shown: Mapping[str, Shown], query: str, target: str) -> tuple[list[int], list[int]]:
    """Rows that ask, which are those of a concept that can be found, and rows that have a concept."""
    there = set(shown[target].concepts) - {""}
    asking = [row for row, concept in enumerate(shown[query].concepts) if concept in there]
    return asking, [row for row, concept in enumerate(shown[target].concepts) if concept]


def clusters(shown: Mapping[str, Shown]) -> dict[str, list[str]]:
    """What each query of each column was made from."""
    return {
        name: [shown[query].groups[row] for row in asked(shown, query, target)[0]]
        for name, (query, target) in COLUMNS.items()
    }


def precisions(shown: Mapping[str, Shown], leaf: Connector, solid: Connector | None) -> Scores:
    """Average precision of each query of each column, in per cent."""
    unified = {}
    for name, each in shown.items():
        connector = solid if each.space == "ulip" else leaf
        if connector is not None:
            unified[name] = connector.project(each.space, each.modality, torch.from_numpy(each.vectors))
    codes = {
        concept: code for code, concept in enumerate(sorted({c for x in shown.values() for c in x.concepts}))
    }
    found = {}
    for column, (query, target) in COLUMNS.items():
        if query in unified and target in unified:
            sides = [
                (unified[name][rows], torch.tensor([codes[shown[name].concepts[row]] for row in rows]))
                for name, rows in zip((query, target), asked(shown, query, target), strict=True)
            ]
            (q, q_codes), (t, t_codes) = sides
            found[column] = 100 * standing(q, t, q_codes, t_codes, (1,)).average_precision.numpy()
    return found


GIVEN: dict[str, Any] = {}
"""What a worker process was started with."""


def begin(features: CompactFeatures | None, folder: str) -> None:
    """Make ready a worker process; each keeps pseudo-pairs of its own."""
    torch.set_num_threads(1)
    GIVEN["features"] = features
    GIVEN["store"] = PseudoPairStore(Path(folder) / str(os.getpid()))


def compact(recipe: str, epochs: int, seed: int) -> Found:
    """Retrieval by concept on the compact bundle's held-out media; the default gives the closed forms too."""
    given: CompactFeatures = GIVEN["features"]
    sounds, shapes = (
        {name: torch.from_numpy(rows) for name, rows in part.items()} for part in (given.sounds, given.shapes)
    )
    fit, store = sizes(512, 512, epochs, seed), GIVEN["store"]
    leaf = connect(load_recipe(recipe, fit), sounds, store=store)
    shape = SHAPES[recipe]
    solid = connect(load_recipe(shape, fit), shapes, store=store) if shape else None
    found = {recipe: precisions(given.shown, leaf.connector, solid.connector if solid else None)}
    if recipe == OURS and seed == 0 and solid is not None:  # the closed forms have no seed
        for name in BASELINES:
            found[name] = precisions(given.shown, leaf.baselines[name], solid.baselines[name])
    return found


def gathered(
    findings: Findings, waiting: Mapping[str, Future[Found]], console: Console, begun: float
) -> Findings:
    """Findings once every job is done, in the order of the jobs."""
    for name, future in waiting.items():
        for system, scores in future.result().items():
            findings.add(system, scores)
        console.print(f"{time.monotonic() - begun:5.0f} s  {name}", highlight=False)
    return findings


def jobs(quick: bool, seeds: range) -> Iterator[tuple[str, int, int]]:
    """Recipe, epochs and seed of every run on simulated spaces."""
    long = 12 if quick else 36
    runs = [(OURS, 12), (PUBLISHED, long), ("cmcr-paper", long), *([] if quick else [(OURS, 36)])]
    for seed in seeds:
        for recipe, epochs in runs:
            yield recipe, epochs, seed


def main() -> None:
    """Train, print the tables, and with --json one object on the last line."""
    options_of = parser(__doc__, quick="one seed of the simulated spaces")
    options_of.add_argument("--seeds", type=int, default=3)
    options_of.add_argument("--data", type=Path, help="the data folder: adds the compact bundle's features")
    options_of.add_argument("--work", type=Path, default=Path("runs/compact"), help="what train-compact left")
    options_of.add_argument("--epochs", type=int, default=3, help="on the compact bundle's features")
    options = options_of.parse_args()
    seeds = range(1 if options.quick else options.seeds)
    console, begun = Console(width=None if sys.stdout.isatty() else 200), time.monotonic()
    features = None
    if options.data and not options.quick:
        features = read_compact(options.data.resolve(), options.work)
        console.print(f"{time.monotonic() - begun:5.0f} s  the compact bundle's features are there")
    parts = [Findings("simulated spaces", "R@1 in %")]
    if features is not None:
        parts.append(Findings("compact bundle", "mAP in %", clusters(features.shown)))
    spawned = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(WORKERS, spawned, begin, (features, folder)) as pool,
    ):
        waiting = [
            {
                f"simulated, seed {seed}: {recipe}, {epochs} epochs": pool.submit(
                    simulated, recipe, epochs, seed
                )
                for recipe, epochs, seed in jobs(options.quick, seeds)
            }
        ]
        if features is not None:
            waiting.append(
                {
                    f"compact, seed {seed}: {recipe}": pool.submit(compact, recipe, options.epochs, seed)
                    for seed in seeds
                    for recipe in SHAPES
                }
            )
        for findings, jobs_of in zip(parts, waiting, strict=True):
            gathered(findings, jobs_of, console, begun)
    rows = []
    for findings in parts:
        ours = next(name for name in findings.systems if name.startswith(OURS))
        published = next(name for name in findings.systems if name.startswith(PUBLISHED))
        rivals = [name for name in findings.systems if not name.startswith(OURS)]
        console.print(findings.table(), findings.margin_table(ours, rivals))
        rows += findings.rows(ours, rivals, published)
    if options.json:
        print_json("recipes", rows, machine(threads=1, processes=WORKERS))


if __name__ == "__main__":
    main()

"""How stiff the default recipe's ridge should be, and which share of its head, by simulated spaces alone.

    python benchmarks/ridge.py [--quick] [--json] [--seeds N] [--penalties]

Several kinds of world, `--seeds` of each. The share weighs two maps once they are trained and does not touch
training, so one run gives every share; a penalty needs no training, and --penalties leaves the shares out.
For each kind: R@1 between the leaf's own modality and the base's, the best, and what cannot
be told from it (95 % interval of the paired difference over seeds).
"""

# ruff: noqa: E402
import sys
from pathlib import Path

# Started as a script, this file's folder comes first in the path and would hide the package it measures.
HERE = Path(__file__).resolve().parent
sys.path[:] = [str(HERE.parent), *(entry for entry in sys.path if Path(entry).resolve() != HERE)]

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks._findings import over_seeds
from benchmarks._rows import machine, parser, print_json
from benchmarks.recipes import NAMES, SMALL_NOISE, WORLD, sizes
from connectors.connector import Connector
from connectors.projectors import Ensemble
from training.connection import connect
from training.metrics import retrieval_both_ways
from training.recipe import load_recipe
from training.simulate import Simulation, World, simulate

SHARES = tuple(tenth / 10 for tenth in range(11))
PENALTIES = (1e-3, 1e-2, 0.03, 0.1, 0.3, 1.0, 3.0)
WORLDS = {
    "as in recipes.py": WORLD,
    "few sounds (200)": replace(WORLD, leaf_items=200),
    "few texts (800)": replace(WORLD, overlap_items=800),
    "nearly linear maps": replace(WORLD, bend=0.5),
    "bent maps": replace(WORLD, bend=3.0),
    "much that is private": replace(WORLD, nuisance=1.2, nuisance_dims=24),
    "and few sounds, clear texts": replace(WORLD, nuisance=1.2, noise=0.1, leaf_items=300),
}


def found(connector: Connector, simulation: Simulation) -> float:
    """R@1 in per cent between the leaf's own modality and the base's, the mean of both directions."""
    unified = connector.project(*NAMES["leaf_other"].split("/"), simulation.test["leaf_other"])
    ways = retrieval_both_ways(unified, simulation.test["base_other"], resamples=0)
    return 50 * sum(way.recall[1].value for way in ways)


def by_penalty(world: World, seed: int) -> list[float]:
    """Of ridge alone, with each penalty."""
    simulation = simulate(world, seed)
    features = {name: getattr(simulation.memories, role) for role, name in NAMES.items()}
    recipes = (load_recipe("default", {"method": "ridge", "ridge": (penalty,)}) for penalty in PENALTIES)
    return [found(connect(recipe, features).connector, simulation) for recipe in recipes]


def by_share(world: World, seed: int) -> list[float]:
    """Of what was trained, with each share of ridge."""
    simulation = simulate(world, seed)
    features = {name: getattr(simulation.memories, role) for role, name in NAMES.items()}
    overrides = sizes(128, 256, 12, seed)
    overrides["loss"] = {"noise_variance": SMALL_NOISE["default"]}
    overrides["connection"] = {"ridge_share": 0.5}
    connector = connect(load_recipe("default", overrides), features).connector
    head = connector.projectors[connector.manifest.heads[NAMES["leaf_other"]][-1]]
    assert isinstance(head, Ensemble)  # of what was trained, and of ridge
    scores = []
    for share in SHARES:
        head.weights.copy_(torch.tensor([1 - share, share]))
        scores.append(found(connector, simulation))
    return scores


AXES: Mapping[str, tuple[tuple[float, ...], Callable[[World, int], list[float]]]] = {
    "penalty": (PENALTIES, by_penalty),
    "share": (SHARES, by_share),
}


def main() -> None:
    """Train, print the tables, and with --json one object on the last line."""
    options_of = parser(__doc__, quick="one seed of the first world")
    options_of.add_argument("--seeds", type=int, default=5)
    options_of.add_argument("--penalties", action="store_true", help="only what needs no training")
    options = options_of.parse_args()
    torch.set_num_threads(1)
    worlds = dict(list(WORLDS.items())[:1]) if options.quick else WORLDS
    seeds = range(1 if options.quick else options.seeds)
    rows: list[dict[str, object]] = []
    for axis in ["penalty"] if options.penalties else AXES:
        choices, measure = AXES[axis]
        table = Table(
            "world", title=f"R@1 in %, audio-image, mean over seeds, by {axis}", title_justify="left"
        )
        for choice in choices:
            table.add_column(f"{choice:g}", justify="right")
        table.add_column("best")
        table.add_column("no worse")
        everything = []
        for name, world in worlds.items():
            scores = np.array([measure(world, seed) for seed in seeds])
            print(f"{axis}, {name}: {' '.join(f'{mean:.1f}' for mean in scores.mean(0))}", flush=True)
            everything.append(scores)
            rows.append(line(axis, name, scores, table))
        if len(worlds) > 1:  # a world and a seed are one draw each
            rows.append(line(axis, "all of them", np.concatenate(everything), table))
        Console(width=None if sys.stdout.isatty() else 160).print(table)
    if options.json:
        print_json("ridge", rows, machine(threads=1))


def line(axis: str, name: str, scores: np.ndarray, table: Table) -> dict[str, object]:
    """Add a world's row, of scores [seeds, choices]; gives it for --json."""
    choices, means = AXES[axis][0], scores.mean(0)
    best = int(means.argmax())
    level = [
        c for c, other in zip(choices, scores.T, strict=True) if over_seeds(scores[:, best] - other)[0] <= 0
    ]
    table.add_row(
        name, *(f"{mean:.1f}" for mean in means), f"{choices[best]:g}", f"{min(level):g} to {max(level):g}"
    )
    row = {"name": f"{axis}: {name}", "value": choices[best], "unit": f"{axis} of ridge", "no worse": level}
    return {**row, "means": means.round(2).tolist()}


if __name__ == "__main__":
    main()

"""Which share of ridge the default recipe's head should have, by simulated spaces alone.

    python benchmarks/ridge_share.py [--quick] [--json] [--seeds N]

Five kinds of world, `--seeds` of each. The share weighs two maps once they are trained and does not touch
training, so one run gives every share. For each kind: R@1 between the leaf's own modality and the base's, the
best share, and the shares that cannot be told from it (95 % interval of the paired difference over seeds).
"""

# ruff: noqa: E402
import sys
from pathlib import Path

# Started as a script, this file's folder comes first in the path and would hide the package it measures.
HERE = Path(__file__).resolve().parent
sys.path[:] = [str(HERE.parent), *(entry for entry in sys.path if Path(entry).resolve() != HERE)]

from dataclasses import replace

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks._findings import over_seeds
from benchmarks._rows import machine, parser, print_json
from benchmarks.recipes import NAMES, SMALL_NOISE, WORLD, sizes
from connectors.projectors import Ensemble
from training.connection import connect
from training.metrics import retrieval_both_ways
from training.recipe import load_recipe
from training.simulate import World, simulate

SHARES = tuple(tenth / 10 for tenth in range(11))
WORLDS = {
    "as in recipes.py": WORLD,
    "few sounds (200)": replace(WORLD, leaf_items=200),
    "few texts (800)": replace(WORLD, overlap_items=800),
    "nearly linear maps": replace(WORLD, bend=0.5),
    "bent maps": replace(WORLD, bend=3.0),
}


def recalls(world: World, seed: int) -> list[float]:
    """R@1 in per cent, the mean of both directions, with each share of ridge."""
    simulation = simulate(world, seed)
    features = {name: getattr(simulation.memories, role) for role, name in NAMES.items()}
    overrides = sizes(128, 256, 12, seed)
    overrides["loss"] = {"noise_variance": SMALL_NOISE["default"]}
    overrides["connection"] = {"ridge_share": 0.5}
    connector = connect(load_recipe("default", overrides), features).connector
    sounds = NAMES["leaf_other"]
    head = connector.projectors[connector.manifest.heads[sounds][-1]]
    assert isinstance(head, Ensemble)  # of what was trained, and of ridge
    found = []
    for share in SHARES:
        head.weights.copy_(torch.tensor([1 - share, share]))
        unified = connector.project(*sounds.split("/"), simulation.test["leaf_other"])
        ways = retrieval_both_ways(unified, simulation.test["base_other"], resamples=0)
        found.append(50 * sum(way.recall[1].value for way in ways))
    return found


def main() -> None:
    """Train, print the table, and with --json one object on the last line."""
    options_of = parser(__doc__, quick="one seed of the first world")
    options_of.add_argument("--seeds", type=int, default=5)
    options = options_of.parse_args()
    torch.set_num_threads(1)
    worlds = dict(list(WORLDS.items())[:1]) if options.quick else WORLDS
    table = Table(
        "world", title="R@1 in % by share of ridge, audio-image, mean over seeds", title_justify="left"
    )
    for share in SHARES:
        table.add_column(f"{share:g}", justify="right")
    table.add_column("best")
    table.add_column("no worse")
    rows: list[dict[str, object]] = []
    everything = []
    for name, world in worlds.items():
        scores = np.array([recalls(world, seed) for seed in range(1 if options.quick else options.seeds)])
        print(f"{name}: {' '.join(f'{mean:.1f}' for mean in scores.mean(0))}", flush=True)
        everything.append(scores)
        rows.append(line(name, scores, table))
    if len(worlds) > 1:  # a world and a seed are one draw each
        rows.append(line("all of them", np.concatenate(everything), table))
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    if options.json:
        print_json("ridge_share", rows, machine(threads=1))


def line(name: str, scores: np.ndarray, table: Table) -> dict[str, object]:
    """Add a world's row, of scores [seeds, shares]; gives it for --json."""
    means = scores.mean(0)
    best = int(means.argmax())
    level = [
        s for s, other in zip(SHARES, scores.T, strict=True) if over_seeds(scores[:, best] - other)[0] <= 0
    ]
    table.add_row(
        name, *(f"{mean:.1f}" for mean in means), f"{SHARES[best]:g}", f"{min(level):g} to {max(level):g}"
    )
    found = {"name": name, "value": SHARES[best], "unit": "share of ridge", "no worse": level}
    return {**found, "means": means.round(2).tolist()}


if __name__ == "__main__":
    main()

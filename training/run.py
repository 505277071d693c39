"""A run: a recipe file in; a connector directory, its baselines' figures and a verdict out.

`run` opens and checks every feature set before any work, makes or finds pseudo-pairs, trains, measures
the connector and its closed-form baselines on the recipe's [evaluation] sets, and writes the connector
directory with `run.json` and `report.html` in it. A run that was killed goes on where it stopped when it is
started again.
"""

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

from connectors.connector import Connector, blend
from connectors.errors import ConfigError, FingerprintMismatch
from connectors.precision import choose_device
from training.assembly import Provenance
from training.connection import Connection, connect
from training.evaluation import Measurement, measure, relations
from training.feature_set import FeatureSet, open_feature_set, unit_rows
from training.hardware import hardware
from training.parallel import Group
from training.pseudo_pair_store import PseudoPairStore
from training.recipe import Recipe
from training.trainer import Progress
from training.views import View, stored_view, views_of_features

RUN_FILE = "run.json"
TRAINED = "connector"
"""The trained connector's name among the systems that are measured; the others are baselines."""


@dataclass(frozen=True, slots=True)
class Run:
    """What came of a recipe."""

    connection: Connection
    measurements: Mapping[str, Sequence[Measurement]]  # by system: `connector`, `ridge`, `procrustes`
    scores: Mapping[str, float]  # by system; empty where nothing was evaluated
    seconds: Mapping[str, float]  # by phase

    @property
    def best_baseline(self) -> str | None:
        """The baseline with the highest score; none where nothing was evaluated."""
        rivals = [system for system in self.scores if system != TRAINED]
        return max(rivals, key=lambda system: self.scores[system], default=None)

    @property
    def loses(self) -> bool:
        """Whether a closed form does better than what was trained."""
        rival = self.best_baseline
        return rival is not None and self.scores[TRAINED] < self.scores[rival]


def run(
    recipe: Recipe,
    output: Path,
    *,
    pseudo_pairs: Path | None = None,
    device: str | None = None,
    on_phase: Callable[[str], None] = lambda phase: None,
    on_step: Callable[[Progress], None] | None = None,
) -> Run:
    """Train a recipe and write its connector to `output`.

    Feature sets that are missing, damaged, of different items or of other encoders than each other, and a
    recipe that does not fit them, raise an `IsthmusError` before any work.

    Args:
        recipe: with its [features]; without [evaluation] nothing can be judged.
        output: the connector directory to make; it must not exist. Checkpoints lie beside it, in
            `<output>.checkpoints`, until it is done.
        pseudo_pairs: where pseudo-pairs are kept for later runs; by default beside the output.
        device: the accelerator if there is one.
        on_phase: told what begins.
        on_step: told of each training step.

    Returns:
        The connection, what was measured of it and of its baselines, and how long that took.

    """
    if output.exists():
        raise ConfigError(f"{output} exists: choose another --output, or remove it")
    if find_spec("matplotlib") is None:
        raise ConfigError("training ends in a report, which needs matplotlib: pip install 'isthmus[train]'")
    seconds: dict[str, float] = {}
    with Group() as group:
        where = group.device if device is None else choose_device(device)
        on_phase("reading features")
        sets = _open(recipe.features)
        roles = recipe.roles(sets)
        real, judged = _open(recipe.real_pairs), _open(recipe.evaluation)
        _check_overlap(recipe, sets)
        _check_rows(real)
        _check_judged(recipe, {name: sets[name].manifest.dim for name in roles.values()}, judged)
        provenance = _provenance(sets, real, judged)
        checkpoints = output.with_name(output.name + ".checkpoints")
        begun = time.monotonic()
        on_phase("pseudo-pairs and training")
        connection = connect(
            recipe,
            {name: features.tensor() for name, features in sets.items()},
            real_pairs={name: features.tensor() for name, features in real.items()},
            provenance=provenance,
            store=PseudoPairStore(pseudo_pairs or output.parent / "pseudo-pairs", where),
            checkpoints=checkpoints,
            device=where,
            group=group,
            on_step=on_step if group.rank == 0 else None,
        )
        seconds["training"] = time.monotonic() - begun
        begun = time.monotonic()
        on_phase("evaluation")
        systems = {TRAINED: connection.connector, **connection.baselines}
        measured = {
            name: measure("evaluation", _views(recipe, system, judged))
            for name, system in systems.items()
            if judged
        }
        scores = {name: score(recipe, lines) for name, lines in measured.items()}
        seconds["evaluation"] = time.monotonic() - begun
        made = Run(connection, measured, scores, seconds)
        if group.rank == 0:
            views = views_of_features([connection.connector], list(judged.values()))
            _write(made, recipe, output, views)
            shutil.rmtree(checkpoints, ignore_errors=True)
    return made


def _views(recipe: Recipe, system: Connector, judged: Mapping[str, FeatureSet]) -> list[View]:
    """Views of the evaluation sets, and of base and leaf overlap blended if the recipe says so."""
    views = views_of_features([system], list(judged.values()))
    found = {view.name: view for view in views}
    base, leaf = (found.get(f"{space}/{recipe.overlap}") for space in (recipe.base, recipe.leaf))
    if recipe.connection.blend and base is not None and leaf is not None and base.ids == leaf.ids:
        mixed = blend(base.unified, leaf.unified, recipe.connection.blend)
        space = f"{recipe.base}+{recipe.leaf}"
        views.append(
            View(f"{space}/{recipe.overlap}", space, mixed, mixed, base.ids, base.labels, base.groups)
        )
    return views


def score(recipe: Recipe, lines: Sequence[Measurement]) -> float:
    """The figure a run is judged by: mean mAP between the leaf's modalities and the base's.

    The leaf's own modality alone counts where it is among them: its overlapping one was trained on.
    """
    found: dict[str, float] = {}
    for line in lines:
        if line.task.startswith("retrieval") and line.vectors == "unified":
            sides = set(line.what.split(" → "))
            spaces = {side.split("/")[0] for side in sides}
            if spaces == {recipe.base, recipe.leaf}:
                found[f"{line.task} {line.what}"] = line.figures["mAP"].value
    own = {what: value for what, value in found.items() if f"{recipe.leaf}/{recipe.overlap}" not in what}
    chosen = list((own or found).values())
    return sum(chosen) / len(chosen)


def _open(paths: Mapping[str, Path]) -> dict[str, FeatureSet]:
    """Open feature sets and check that each is what the recipe calls it."""
    sets = {}
    for name, path in paths.items():
        features = open_feature_set(path)
        found = f"{features.manifest.space}/{features.manifest.modality}"
        if found != name:
            raise ConfigError(
                f'the recipe calls {path} "{name}", but it holds {found}: name it so, or give another path'
            )
        sets[name] = features
    return sets


def _check_overlap(recipe: Recipe, sets: Mapping[str, FeatureSet]) -> None:
    names = [f"{space}/{recipe.overlap}" for space in (recipe.base, recipe.leaf)]
    _check_rows({name: sets[name] for name in names})


def _check_rows(sets: Mapping[str, FeatureSet]) -> None:
    """Two sets of the same items hold the same items file."""
    if len({features.manifest.items_sha256 for features in sets.values()}) > 1:
        counts = " and ".join(f"{name} ({len(features)} items)" for name, features in sets.items())
        raise ConfigError(
            f"{counts} are features of different items: extract both from the same input, and leave "
            "out of both what was skipped in one"
        )


def _check_judged(recipe: Recipe, dims: Mapping[str, int], judged: Mapping[str, FeatureSet]) -> None:
    """Refuse [evaluation] sets that could not be projected or compared once the training is done.

    `dims`: dimensions of the vectors that are trained on, by 'space/modality'.
    """
    views: dict[str, list[View]] = {recipe.base: [], recipe.leaf: []}
    for name, features in judged.items():
        if name not in dims:
            raise ConfigError(
                f"[evaluation] names {name}, but this recipe makes heads for {', '.join(dims)} only: "
                "leave it out"
            )
        if features.manifest.dim != dims[name]:
            raise ConfigError(
                f"{features.path} holds {name} vectors of {features.manifest.dim} dimensions, [features] "
                f"those of {dims[name]}: extract both with the same encoder"
            )
        native = unit_rows(f"[evaluation] {name}", features.tensor())
        views[features.manifest.space].append(stored_view(features, native, native))
    pairs = product(views[recipe.base], views[recipe.leaf])
    if judged and not any(relations(*pair) for pair in pairs):
        raise ConfigError(
            f"[evaluation] compares nothing of {recipe.leaf} with anything of {recipe.base}: name two "
            "feature sets, one of each, with ids or labels in common"
        )


def _provenance(*groups: Mapping[str, FeatureSet]) -> Provenance:
    """Collect each space's encoder; one space has one encoder in all sets of a run."""
    encoders: dict[str, str] = {}
    for features in (features for group in groups for features in group.values()):
        space, encoder = features.manifest.space, features.manifest.encoder
        known = encoders.setdefault(space, encoder.fingerprint)
        if known != encoder.fingerprint:
            raise FingerprintMismatch(
                f"{features.path} was made by {encoder.name} with weights {encoder.fingerprint[:19]}..., "
                f"other {space} features of this recipe with {known[:19]}...: one space has one encoder; "
                "extract them again with the same weights"
            )
    hashes = {name: features.manifest.items_sha256 for name, features in groups[0].items()}
    return Provenance(encoders, hashes)


def _write(made: Run, recipe: Recipe, output: Path, views: Sequence[View]) -> None:
    connector: Connector = made.connection.connector
    connector.manifest.metrics.update(
        scores=dict(made.scores),
        measurements=[line.json() for line in made.measurements.get(TRAINED, ())],
    )
    connector.save(output)
    record: dict[str, Any] = {
        "recipe": recipe.model_dump(mode="json"),
        "scores": dict(made.scores),
        "measurements": {
            system: [line.json() for line in lines] for system, lines in made.measurements.items()
        },
        "losses": made.connection.histories,
        "seconds": dict(made.seconds),
        "machine": hardware(),
    }
    (output / RUN_FILE).write_text(json.dumps(record) + "\n", encoding="utf-8")
    from training.report import Report, write_report

    page = Report(
        title=connector.version,
        subtitle=f"{recipe.leaf} connected to {recipe.base} by the {recipe.overlap} that both embed",
        recipe=record["recipe"],
        histories=made.connection.histories,
        measurements=made.measurements,
        scores=made.scores,
        seconds=made.seconds,
        machine=record["machine"],
        views=views,
        trained=TRAINED,
    )
    write_report(page, output)

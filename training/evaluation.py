"""Evaluation: every pair of modalities of a dataset, in the unified space and in native ones they share.

`measure` takes views (the embeddings of one modality, with what each row is) and gives a flat list of
`Measurement`s. `evaluate_media` does all from a bundle and a dataset's local copy, `evaluate_features` from
connectors and stored feature sets.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import torch

from connectors.bundle import bundle_directory, encoder_towers, load_bundle_encoder, read_manifest
from connectors.calibration import Calibration
from connectors.connector import load_connector
from connectors.errors import ConfigError
from connectors.space import UnifiedSpace
from training.encoding import Skipped
from training.metrics import Figure, Retrieval, modality_gap, preservation, retrieval_both_ways, zero_shot
from training.readers import read_dataset
from training.views import Classes, DatasetViews, View, read_feature_sets, views_of_features

UNIFIED = "unified"

TASKS = ("retrieval by item", "retrieval by label", "zero-shot", "modality gap", "space preserved")
"""What is measured, in the order it is told."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One line of an evaluation.

    `task`: one of `TASKS`.
    `vectors`: `unified`, or the name of the native space measured for comparison.
    """

    dataset: str
    task: str
    what: str
    vectors: str
    figures: Mapping[str, Figure]
    counts: Mapping[str, int] = field(default_factory=dict)

    def json(self) -> dict[str, Any]:
        """The line as JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All measurements of one system on one copy of data, and what of the data could not be used."""

    system: str
    measurements: Sequence[Measurement]
    skipped: Sequence[Skipped] = ()

    def json(self) -> dict[str, Any]:
        """The evaluation as JSON values."""
        return {
            "system": self.system,
            "measurements": [line.json() for line in self.measurements],
            "skipped": [
                {**skip.example.item(), "error": skip.code, "message": skip.message} for skip in self.skipped
            ],
        }


def evaluate_media(
    space: UnifiedSpace,
    data: Path,
    *,
    dataset: str | None = None,
    batch_size: int = 32,
    workers: int = 2,
    resamples: int = 1000,
    seed: int = 0,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Embed a dataset's local copy through a space and measure it.

    `on_progress` is told how many media are embedded, of how many. Raises what `read_dataset` raises, and
    `ConfigError` where the space embeds nothing of the dataset.
    """
    datasets = read_dataset(data, dataset)
    embedded = DatasetViews(space, batch_size=batch_size, workers=workers, on_progress=on_progress)
    embedded.expect(datasets)
    lines: list[Measurement] = []
    for each in datasets:
        views = embedded.views(each)
        classes = embedded.classes(each)
        lines += measure(each.name, views, classes, resamples=resamples, seed=seed)
    if not lines:
        reason = f"; the first item left out: {embedded.skipped[0].message}" if embedded.skipped else ""
        raise ConfigError(f"nothing in {data} can be compared in {space.name}{reason}")
    return Evaluation(f"{space.name} {space.connector_version}", lines, embedded.skipped)


def evaluate_features(
    connector_paths: Sequence[Path], data: Path, *, resamples: int = 1000, seed: int = 0
) -> Evaluation:
    """Measure connectors on the feature sets below `data`. Raises `ConfigError` where none fits a head."""
    connectors = [load_connector(path) for path in connector_paths]
    views = views_of_features(connectors, read_feature_sets(data))
    if len(views) < 2:
        heads = ", ".join(head for connector in connectors for head in connector.manifest.heads)
        raise ConfigError(f"fewer than two feature sets in {data} belong to these heads: {heads}")
    lines = measure(data.name, views, resamples=resamples, seed=seed)
    return Evaluation(" + ".join(connector.version for connector in connectors), lines)


def space_with(bundle: str | Path, connector_paths: Sequence[Path], *, device: str = "cpu") -> UnifiedSpace:
    """A bundle's encoders with other connectors. Raises what `load_bundle` raises."""
    directory = bundle_directory(bundle)
    manifest = read_manifest(directory)
    return UnifiedSpace(
        name=manifest.name,
        encoders={
            space: load_bundle_encoder(directory, space, towers, device=device)
            for space, towers in encoder_towers(manifest).items()
        },
        serve=manifest.serve,
        connectors=[load_connector(path) for path in connector_paths],
        calibration=Calibration.none(),
    )


def measure(
    dataset: str,
    views: Sequence[View],
    classes: Classes | None = None,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> list[Measurement]:
    """Measure every pair of views, zero-shot classification, gaps, and what is left of each native space.

    Two views are compared by item where they share ids, and by label where they share labels; in their
    common native space too where the unified vectors are not those. Intervals draw the views' clusters.
    """
    lines: list[Measurement] = []
    for first, second in combinations(views, 2):
        sides = [(UNIFIED, first.unified, second.unified)]
        moved = not (torch.equal(first.native, first.unified) and torch.equal(second.native, second.unified))
        if first.space == second.space and moved:
            sides.append((f"native {first.space}", first.native, second.native))
        drawn = first.clusters(), second.clusters()
        for vectors, a, b in sides:
            for task, rows in relations(first, second):
                both = retrieval_both_ways(
                    a[rows[0]],
                    b[rows[1]],
                    *rows[2:],
                    clusters=([drawn[0][i] for i in rows[0]], [drawn[1][i] for i in rows[1]]),
                    resamples=resamples,
                    seed=seed,
                )
                whats = (f"{first.name} → {second.name}", f"{second.name} → {first.name}")
                for what, result in zip(whats, both, strict=True):
                    lines.append(_retrieval_line(dataset, task, what, vectors, result))
            gap = {"distance": modality_gap(a, b, clusters=drawn, resamples=resamples, seed=seed)}
            lines.append(Measurement(dataset, "modality gap", f"{first.name} – {second.name}", vectors, gap))
    for view in views:
        if classes is not None and (line := _zero_shot_line(dataset, view, classes, resamples, seed)):
            lines.append(line)
    for view in views:
        if len(view.native) > 2:
            kept = preservation(
                view.native, view.unified, clusters=view.clusters(), resamples=resamples, seed=seed
            )
            what = f"{view.space} {view.name.removeprefix(f'{view.space}/')}"
            lines.append(
                Measurement(dataset, "space preserved", what, UNIFIED, kept.figures(), {"items": kept.items})
            )
    return sorted(lines, key=lambda line: TASKS.index(line.task))


Rows = tuple[list[int], list[int], list[str], list[str]]


def relations(first: View, second: View) -> list[tuple[str, Rows]]:
    """How two views can be compared: the rows of each that count, and what makes them equal."""
    found: list[tuple[str, Rows]] = []
    if len(set(first.ids) & set(second.ids)) > 1:
        everything = (list(range(len(first.ids))), list(range(len(second.ids))))
        found.append(("retrieval by item", (*everything, list(first.ids), list(second.ids))))
    if len({*first.labels} & {*second.labels} - {None}) > 1:
        labelled = [[i for i, label in enumerate(v.labels) if label is not None] for v in (first, second)]
        labels = [[str(v.labels[i]) for i in rows] for v, rows in zip((first, second), labelled, strict=True)]
        found.append(("retrieval by label", (labelled[0], labelled[1], labels[0], labels[1])))
    return found


def _retrieval_line(dataset: str, task: str, what: str, vectors: str, result: Retrieval) -> Measurement:
    counts = {"queries": result.queries, "targets": result.targets}
    if result.without_relevant:
        counts["queries without a match"] = result.without_relevant
    return Measurement(dataset, task, what, vectors, result.figures(), counts)


def _zero_shot_line(
    dataset: str, view: View, classes: Classes, resamples: int, seed: int
) -> Measurement | None:
    rows = {name: row for row, name in enumerate(classes.names)}
    labelled = [i for i, label in enumerate(view.labels) if label in rows]
    if not labelled or view.name.endswith("text"):
        return None
    labels = torch.tensor([rows[str(view.labels[i])] for i in labelled])
    clusters = view.clusters()
    result = zero_shot(
        view.unified[labelled],
        classes.vectors,
        labels,
        clusters=[clusters[i] for i in labelled],
        resamples=resamples,
        seed=seed,
    )
    counts = {"items": result.items, "classes": result.classes}
    return Measurement(dataset, "zero-shot", view.name, UNIFIED, result.figures(), counts)

"""The report of a training run: one self-contained HTML file, and its pictures as PNGs beside it.

`write_report` is given what a run leaves in `run.json` and the views of its evaluation data, and writes
`report.html` and `figures/*.png` into the run's directory.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure as Plot

from training.evaluation import Measurement
from training.metrics import PLAIN, Figure
from training.recipe_text import values_text
from training.report_figures import comparable, heat_map, loss_curves, space_maps
from training.views import View

REPORT_FILE, FIGURES = "report.html", "figures"
LOWER_IS_BETTER = {"MedR", "distance"}

CSS_PIXELS = 100
"""Width a picture's inch has on the page: its letters are then as large as the page's own."""

HEAT_MAPS = 4
"""Heat maps at most: the pairs that connecting is for come first."""

ABOUT = {
    "retrieval by item": "Share of queries that find their own item among the first k, mean average "
    "precision, and median rank. In per cent, with half the 95 % bootstrap interval (what was made from one "
    "recording or mesh is drawn together).",
    "retrieval by label": "The same, where everything of the query's class counts as found.",
    "zero-shot": "Share of items whose class name is among the k nearest.",
    "modality gap": "Distance between the means of two modalities, from 0 to 2; beside it the distance to "
    "expect between two samples of one distribution.",
    "space preserved": "How much of each native space is left: nearest neighbours kept, and correlation of "
    "cosines. A base space that is not touched keeps everything.",
}


@dataclass(frozen=True, slots=True)
class Report:
    """What a report tells. `measurements` and `scores` are by system, the trained `connector` first."""

    title: str
    subtitle: str
    recipe: Mapping[str, Any]
    histories: Sequence[Sequence[Mapping[str, float]]]
    measurements: Mapping[str, Sequence[Measurement]]
    scores: Mapping[str, float]
    seconds: Mapping[str, float]
    machine: Mapping[str, Any]
    views: Sequence[View] = ()
    trained: str = "connector"


def write_report(report: Report, directory: Path) -> Path:
    """Write `report.html` and `figures/*.png` into a directory; gives the path of the page."""
    figures = directory / FIGURES
    figures.mkdir(parents=True, exist_ok=True)
    environment = Environment(
        loader=PackageLoader("training", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    page = environment.get_template("report.html.jinja").render(
        title=report.title,
        subtitle=report.subtitle,
        verdict=_verdict(report),
        facts=_facts(report),
        groups=_groups(report),
        space_pictures=[_written(section, figures) for section in _space_sections(report.views)],
        training_pictures=[_written(section, figures) for section in _loss_sections(report.histories)],
        recipe=values_text(report.recipe),
        footer="Chance stands in the line above the figures. Bold: the best of the systems compared.",
    )
    path = directory / REPORT_FILE
    path.write_text(page, encoding="utf-8")
    return path


@dataclass(frozen=True, slots=True)
class Section:
    """A title, a sentence, and plots by the name of their file."""

    title: str
    about: str
    plots: Mapping[str, Plot]


def _space_sections(views: Sequence[View]) -> list[Section]:
    sections = []
    if len(views) > 1:
        about = (
            "Principal components of the evaluation items. Before, the frozen spaces have nothing to do with "
            "each other; after, lines that join the same item should be short."
        )
        sections.append(Section("The space, before and after", about, {"space": space_maps(views)}))
    if pairs := comparable(views)[:HEAT_MAPS]:
        about = (
            "Cosines in the unified space between what two modalities show. A bright diagonal is what "
            "connecting is for."
        )
        plots = {f"similarity-{_slug(a.name)}-{_slug(b.name)}": heat_map(a, b) for a, b in pairs}
        sections.append(Section("Similarity", about, plots))
    return sections


def _loss_sections(histories: Sequence[Sequence[Mapping[str, float]]]) -> list[Section]:
    if not (kept := [history for history in histories if history]):
        return []
    about = "Each step's losses (faint) and their moving average."
    return [Section("Training", about, {"losses": loss_curves(kept)})]


def _written(section: Section, directory: Path) -> dict[str, Any]:
    """Write a section's plots as PNGs; gives what the page needs of it."""
    images = []
    for name, plot in section.plots.items():
        out = io.BytesIO()
        plot.savefig(out, format="png", facecolor="white")
        (directory / f"{name}.png").write_bytes(out.getvalue())
        data = base64.b64encode(out.getvalue()).decode()
        width = round(CSS_PIXELS * plot.get_figwidth())
        images.append({"alt": f"{section.title}: {name}", "data": data, "width": width})
    return {"title": section.title, "about": section.about, "images": images}


def _slug(name: str) -> str:
    return name.replace("/", "-")


def _verdict(report: Report) -> dict[str, Any] | None:
    rivals = {name: score for name, score in report.scores.items() if name != report.trained}
    if report.trained not in report.scores or not rivals:
        return None
    best = max(rivals, key=lambda name: rivals[name])
    ours, theirs = report.scores[report.trained], rivals[best]
    wins = ours >= theirs
    text = (
        f"{'Beats' if wins else 'Loses to'} the best closed form, {best}: mAP {ours:.1%} against {theirs:.1%}"
    )
    return {"wins": wins, "text": text}


def _facts(report: Report) -> dict[str, str]:
    optim = report.recipe.get("optim", {})
    facts = {
        name: str(report.recipe[name])
        for name in ("method", "base", "leaf", "overlap")
        if name in report.recipe
    }
    facts |= {name: str(optim[key]) for name, key in (("seed", "seed"), ("epochs", "epochs")) if key in optim}
    facts |= {f"{phase} took": _duration(seconds) for phase, seconds in report.seconds.items()}
    facts |= {name: str(value) for name, value in report.machine.items() if value is not None}
    return facts


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"


def _groups(report: Report) -> list[dict[str, Any]]:
    """One table a task; in it a block for each thing measured, with a row a system and one of chance."""
    lines = [(system, line) for system, part in report.measurements.items() for line in part]
    groups = []
    for dataset, task in dict.fromkeys((line.dataset, line.task) for _, line in lines):
        chosen = [(s, line) for s, line in lines if (line.dataset, line.task) == (dataset, task)]
        columns = list(dict.fromkeys(name for _, line in chosen for name in line.figures))
        whats = dict.fromkeys(line.what for _, line in chosen)
        blocks = [_block(what, [(s, x) for s, x in chosen if x.what == what], columns) for what in whats]
        blocks.sort(key=lambda block: len(block["rows"]) == 1)  # what was moved comes first
        title = f"{task[0].upper()}{task[1:]}"
        if len({line.dataset for _, line in lines}) > 1:
            title = f"{dataset}: {task}"
        groups.append({"title": title, "about": ABOUT.get(task, ""), "columns": columns, "blocks": blocks})
    return groups


def _block(what: str, lines: Sequence[tuple[str, Measurement]], columns: Sequence[str]) -> dict[str, Any]:
    # A native space is the same whatever was connected to it: it stands once, under its own name. So does
    # a pair that no system moved.
    rows: dict[str, Mapping[str, Figure]] = {}
    for system, line in lines:
        rows.setdefault(system if line.vectors == "unified" else line.vectors, line.figures)
    first = next(iter(rows.values()))
    if len(rows) > 1 and all(figures == first for figures in rows.values()):
        rows = {"every system": first}
    best = {
        name: (min if name in LOWER_IS_BETTER else max)(
            (figures[name].value for figures in rows.values() if name in figures), default=None
        )
        for name in columns
    }
    return {
        "what": what,
        "counts": _counts(lines[0][1].counts),
        "chance": [_number(name, first[name].chance) if name in first else "" for name in columns],
        "rows": [
            {
                "name": name,
                "cells": [_cell(c, figures.get(c), best[c], compared=len(rows) > 1) for c in columns],
            }
            for name, figures in rows.items()
        ],
    }


def _counts(counts: Mapping[str, int]) -> str:
    """`18 queries × 21 targets, 4 queries without a match`."""
    told = [f"{count:,} {name}" for name, count in counts.items()]
    return ", ".join([" × ".join(told[:2]), *told[2:]])


def _cell(name: str, figure: Figure | None, best: float | None, *, compared: bool) -> dict[str, Any]:
    if figure is None:
        return {"text": "", "spread": "", "best": False}
    spread = ""
    if figure.low is not None and figure.high is not None:
        spread = _number(name, (figure.high - figure.low) / 2)
    return {
        "text": _number(name, figure.value),
        "spread": spread,
        "best": compared and figure.value == best,
    }


def _number(name: str, value: float) -> str:
    if name in PLAIN:
        return f"{value:.1f}" if name == "MedR" else f"{value:.2f}"
    return f"{value * 100:.1f}"

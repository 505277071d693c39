"""The compact bundle's report: what it finds among media that no step trained on, beside chance.

Given held-out views, connectors and the teachers' baseline, it measures retrieval by concept, zero-shot
classification and shape retrieval, and writes one table for people (`REPORT.md`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor
from torch.nn import functional as F

from training.compact.held_out import View
from training.metrics import Retrieval, retrieval

Embed = Callable[[Sequence[str]], Tensor]


@dataclass(frozen=True, slots=True)
class Line:
    """One measured figure."""

    task: str
    variant: str
    figure: str
    value: float
    chance: float
    queries: int
    targets: int


def concept_lines(task: str, variant: str, query: View, target: View) -> list[Line]:
    """Retrieval by concept: every target of the query's concept is right. Rows without one are left out."""
    query, target = query.with_concept(), target.with_concept()
    known = set(target.concepts)
    query = query.where([c in known for c in query.concepts])
    got = retrieval(query.vectors, target.vectors, query.concepts, target.concepts)
    return _lines(task, variant, got, ("mAP", "R@1", "R@5", "R@10"))


def _lines(task: str, variant: str, got: Retrieval, keys: Sequence[str]) -> list[Line]:
    figures = got.figures()
    return [
        Line(task, variant, key, figures[key].value, figures[key].chance, got.queries, got.targets)
        for key in keys
    ]


def name_lines(task: str, variant: str, media: View, embed: Embed) -> list[Line]:
    """Text to media by name: the query is a name, every item of that name is right."""
    names = sorted(set(media.names))
    got = retrieval(F.normalize(embed(names), dim=1), media.vectors, names, media.names)
    return _lines(task, variant, got, ("mAP", "R@1", "R@5", "R@10"))


def zero_shot_line(task: str, variant: str, media: View, embed: Embed, template: str) -> Line:
    """Accuracy of the nearest class name among the classes present."""
    classes = sorted(set(media.names))
    vectors = F.normalize(embed([template.format(name) for name in classes]), dim=1)
    guess = (media.vectors @ vectors.T).argmax(dim=1)
    right = [classes[int(g)] == name for g, name in zip(guess, media.names, strict=True)]
    size = len(media.names)
    return Line(task, variant, "accuracy", sum(right) / size, 1 / len(classes), size, len(classes))


def mesh_lines(variant: str, pictures: View, clouds: View, seen: set[str]) -> list[Line]:
    """Picture to shape and back among unseen instances of seen things.

    Strict: the one cloud of the picture's mesh is right. By thing: any cloud of the same name is.
    """
    clouds = clouds.where(
        [n in seen or (c in seen) for n, c in zip(clouds.names, clouds.concepts, strict=True)]
    )
    there = set(clouds.meshes)
    pictures = pictures.where([m in there for m in pictures.meshes])
    out = []
    for kind, a, b in (
        ("same mesh", pictures.meshes, clouds.meshes),
        ("same name", pictures.names, clouds.names),
    ):
        for way, left, right, x, y in (
            ("image to 3D", pictures, clouds, a, b),
            ("3D to image", clouds, pictures, b, a),
        ):
            got = retrieval(left.vectors, right.vectors, x, y)
            out += _lines(f"{way}, {kind}", variant, got, ("R@1", "R@10"))
    return out


def as_table(lines: Sequence[Line]) -> str:
    """Markdown: one row a task and variant, its figures with chance in brackets."""
    rows: dict[tuple[str, str], list[Line]] = {}
    for line in lines:
        rows.setdefault((line.task, line.variant), []).append(line)
    out = ["| task | vectors | figures in % (chance) | queries | targets |", "|---|---|---|---|---|"]
    for (task, variant), figures in rows.items():
        shown = ", ".join(f"{f.figure} {100 * f.value:.1f} ({100 * f.chance:.1f})" for f in figures)
        out.append(f"| {task} | {variant} | {shown} | {figures[0].queries} | {figures[0].targets} |")
    return "\n".join(out)


def write_report(lines: Sequence[Line], path: Path, notes: Mapping[str, str]) -> None:
    """Write the report; `notes` are paragraphs that end with a line break: intro, limits, tried."""
    text = [
        "# The compact bundle, measured",
        "",
        notes["intro"],
        as_table(lines),
        "",
        "## Limits",
        "",
        notes["limits"],
        "## What was tried",
        "",
        notes["tried"],
    ]
    path.write_text("\n".join(text), encoding="utf-8")

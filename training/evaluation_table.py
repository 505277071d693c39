"""Measurements as tables for the terminal: every figure with its interval and its chance level."""

from collections.abc import Sequence
from itertools import groupby

from rich.console import Group
from rich.table import Table

from training.evaluation import Measurement
from training.metrics import PLAIN, Figure


def figure_text(name: str, figure: Figure) -> str:
    """Value, half the 95 % interval and chance level: `34.5 ±2.1 / 0.5`; shares in per cent."""
    scale, digits = (1, 1 if name == "MedR" else 2) if name in PLAIN else (100, 1)
    text = f"{figure.value * scale:.{digits}f}"
    if figure.low is not None and figure.high is not None:
        text += f" [dim]±{(figure.high - figure.low) / 2 * scale:.{digits}f}[/]"
    return f"{text} [cyan]/ {figure.chance * scale:.{digits}f}[/]"


def tables(lines: Sequence[Measurement]) -> Group:
    """One table a dataset and task, in the order of the lines."""
    made: list[Table] = []
    ordered = sorted(lines, key=lambda line: [m.dataset for m in lines].index(line.dataset))
    for dataset, of_dataset in groupby(ordered, key=lambda line: line.dataset):
        kept = list(of_dataset)
        for task in dict.fromkeys(line.task for line in kept):
            made.append(_table(dataset, task, [line for line in kept if line.task == task]))
    return Group(*made)


def _table(dataset: str, task: str, lines: Sequence[Measurement]) -> Table:
    table = Table(
        title=f"[bold]{dataset}[/] · {task}",
        title_justify="left",
        title_style="",
        caption="value ±half the 95 % interval [cyan]/ chance[/]; shares in %",
        caption_justify="left",
    )
    table.add_column("")
    table.add_column("vectors")
    table.add_column("items")
    names = list(dict.fromkeys(name for line in lines for name in line.figures))
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    for line in lines:
        counts = " × ".join(f"{line.counts[key]:,}" for key in list(line.counts)[:2])
        figures = [figure_text(n, line.figures[n]) if n in line.figures else "" for n in names]
        table.add_row(line.what, line.vectors, counts, *figures)
    return table

"""Rows: what a benchmark measured, as a table for people and, with --json, one object on the last line.

Given rows with the goals they have, `publish` prints both. The underscore keeps this file out of `make
bench`, which runs every other one.
"""

import argparse
import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Row:
    """One measured figure, with the goal it has, if any, and whether it holds."""

    name: str
    value: float
    unit: str = ""
    goal: str | None = None
    holds: bool | None = None

    def json(self) -> dict[str, object]:
        """The row as JSON values; without a goal it holds nothing."""
        found = {key: value for key, value in asdict(self).items() if value is not None}
        return {**found, "value": round(self.value, 4)}


def at_least(name: str, value: float, unit: str, goal: float) -> Row:
    """A figure that should be no less than its goal."""
    return Row(name, value, unit, f">= {goal:g}", bool(value >= goal))


def at_most(name: str, value: float, unit: str, goal: float) -> Row:
    """A figure that should be no more than its goal."""
    return Row(name, value, unit, f"<= {goal:g}", bool(value <= goal))


def parser(text: str, *, quick: str) -> argparse.ArgumentParser:
    """Options every benchmark has: --quick (what it does) and --json. `text` is the file's docstring."""
    made = argparse.ArgumentParser(description=text.split("\n")[0])
    made.add_argument("--quick", action="store_true", help=quick)
    made.add_argument("--json", action="store_true", help="one JSON object on the last line")
    return made


def machine(**more: object) -> dict[str, object]:
    """What figures were measured on, and how busy it was."""
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        **more,
    }


def publish(
    benchmark: str,
    rows: Sequence[Row],
    *,
    as_json: bool,
    title: str | None = None,
    about: dict[str, object] | None = None,
) -> None:
    """Print the table, and the object {benchmark, machine, rows} on the last line if it is asked for.

    `about`: of the machine (see `machine`), instead of what can be told of any.
    """
    table = Table("", "value", "unit", "goal", title=title or benchmark, title_justify="left")
    for row in rows:
        verdict = "" if row.goal is None else f"{row.goal}: {'holds' if row.holds else 'missed'}"
        table.add_row(row.name, f"{row.value:,.2f}", row.unit, verdict)
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    if as_json:
        print_json(benchmark, [row.json() for row in rows], about)


def print_json(
    benchmark: str, rows: Sequence[dict[str, object]], about: dict[str, object] | None = None
) -> None:
    """The object alone, for a benchmark with tables of its own."""
    print(json.dumps({"benchmark": benchmark, "machine": about or machine(), "rows": rows}))

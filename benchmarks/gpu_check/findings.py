"""Findings: figures and remarks as they come in, printed as one table and one JSON line.

A `Note` stands where there is no figure: a step that failed, one that needs a GPU, one there was no time for.
"""

import math
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from benchmarks._rows import Row, print_json

WIDTH = 160


@dataclass(frozen=True, slots=True)
class Note:
    """A remark on `name` in place of a figure; `failed` where that is an error."""

    name: str
    text: str
    failed: bool = False

    def json(self) -> dict[str, object]:
        """The note as JSON values."""
        return {"name": self.name, "failed" if self.failed else "note": self.text}


class Findings:
    """Everything found so far. Each is said on stderr at once: a run that is cut off leaves that much."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.all: list[Row | Note] = []
        self._quiet = quiet

    def add(self, found: Row | Note) -> None:
        """Keep one; a figure that is no number becomes a note."""
        if isinstance(found, Row) and not math.isfinite(found.value):
            found = Note(found.name, f"the figure is {found.value}", failed=True)
        self.all.append(found)
        if not self._quiet:
            print("  ".join(_cells(found)), file=sys.stderr, flush=True)

    @property
    def failures(self) -> list[Note]:
        """The notes of what went wrong."""
        return [each for each in self.all if isinstance(each, Note) and each.failed]

    @property
    def missed(self) -> list[Row]:
        """The figures that miss their goal."""
        return [each for each in self.all if isinstance(each, Row) and each.holds is False]

    def publish(self, title: str, about: Mapping[str, object], *, as_json: bool) -> None:
        """Print the table, and with `as_json` the object on the last line."""
        table = Table("", "value", "unit", "goal", title=title, title_justify="left", box=SIMPLE_HEAD)
        for found in self.all:
            table.add_row(*_cells(found))
        Console(width=None if sys.stdout.isatty() else WIDTH, markup=False).print(table)
        print(f"{len(self.missed)} goals missed, {len(self.failures)} steps failed", flush=True)
        if as_json:
            print_json("gpu", [_values(found) for found in self.all], dict(about))
            sys.stdout.flush()


def largest(values: Iterable[float]) -> float:
    """The largest of all, nan if one of them is that: `max` may pass over it."""
    found = list(values)
    return math.nan if any(map(math.isnan, found)) else max(found, default=math.nan)


def _values(found: Row | Note) -> dict[str, object]:
    """A finding as JSON values; errors are too small for four places behind the point."""
    if isinstance(found, Note):
        return found.json()
    return {**found.json(), "value": float(f"{found.value:.5g}")}


def _cells(found: Row | Note) -> tuple[str, str, str, str]:
    if isinstance(found, Note):
        return found.name, "", "", f"failed: {found.text}" if found.failed else found.text
    verdict = "" if found.goal is None else f"{found.goal}: {'holds' if found.holds else 'missed'}"
    return found.name, _figure(found.value), found.unit, verdict


def _figure(value: float) -> str:
    """Four digits or more: cosines need them all, rates none behind the point."""
    if value and abs(value) < 0.01:
        return f"{value:.2e}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.5g}"

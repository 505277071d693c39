"""Findings: what several systems score over seeds, and whether one is ahead of another by a clear margin.

Given the score of every query of every column, seed by seed, gives tables of means and spreads and of paired
differences with their intervals. Two uncertainties are told apart: seeds (what training draws) and queries
(which media happen to be there; those cut from one recording or mesh are drawn together).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from rich.table import Table

Array = npt.NDArray[np.float64]
Scores = Mapping[str, Array]
"""Column -> a score in per cent for each query [n]."""

ALL = "mean of columns"
T_975 = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26)
"""Student's t at 97.5 % for 1, 2, ... degrees of freedom."""

RESAMPLES = 5000


@dataclass(frozen=True, slots=True)
class Margin:
    """How far one system is ahead of another in a column: the mean, each seed's, and a 95 % interval."""

    column: str
    mean: float
    seeds: tuple[float, ...]
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """Clear where there are several seeds, all of one sign, and the interval excludes 0."""
        for way, sign in (("ahead", 1), ("behind", -1)):
            if all(sign * value > 0 for value in self.seeds):
                apart = min(sign * self.low, sign * self.high) > 0
                return f"clearly {way}" if apart and len(self.seeds) > 1 else f"{way}, not clearly"
        return "open"


class Findings:
    """The scores of every system, in the order they were found.

    `clusters`: column -> what each of its queries was made from. Intervals then are over queries; without
    them every seed has queries of its own, and intervals are over seeds.
    """

    def __init__(self, title: str, unit: str, clusters: Mapping[str, Sequence[str]] | None = None) -> None:
        self.title, self.unit, self.clusters = title, unit, clusters
        self.systems: dict[str, list[Scores]] = {}

    def add(self, system: str, scores: Scores) -> None:
        """One seed's scores of a system; a system without a seed has them once."""
        self.systems.setdefault(system, []).append(scores)

    def columns(self, *systems: str) -> list[str]:
        """What was measured of all of these systems; of any, without systems."""
        runs = [run for name in systems or self.systems for run in self.systems[name]]
        found = dict.fromkeys(column for run in runs for column in run)
        return [c for c in found if not systems or all(c in run for run in runs)]

    def seeds(self, system: str, column: str) -> list[float]:
        """A column's mean over queries in every seed; none where the system has no such column."""
        return [float(run[column].mean()) for run in self.systems[system] if column in run]

    def margins(self, ours: str, rival: str) -> list[Margin]:
        """Ours less the rival's, seed by seed and query by query: of each common column and their mean."""
        columns = self.columns(ours, rival)
        apart = {column: self._stacked(ours, column) - self._stacked(rival, column) for column in columns}
        chosen = [([column], column) for column in columns] + [(columns, ALL)]
        return [self._margin(name, [(c, apart[c]) for c in part]) for part, name in chosen]

    def _stacked(self, system: str, column: str) -> Array:
        """Scores of a column, [seeds, queries]."""
        return np.stack([run[column] for run in self.systems[system]])

    def _margin(self, name: str, apart: Sequence[tuple[str, Array]]) -> Margin:
        by_seed = np.mean([differences.mean(1) for _, differences in apart], axis=0)
        if self.clusters is None:
            low, high = over_seeds(by_seed)
        else:
            low, high = _over_queries([(self.clusters[column], each.mean(0)) for column, each in apart])
        return Margin(name, float(by_seed.mean()), tuple(by_seed.tolist()), low, high)

    def table(self) -> Table:
        """A row a system: the mean of its seeds, their standard deviation, and each of them."""
        table = Table("", title=f"{self.title}, {self.unit}", title_justify="left")
        for column in (*self.columns(), ALL):
            table.add_column(column, justify="right")
        for system in self.systems:
            cells = [self._cell(self.seeds(system, column)) for column in self.columns()]
            whole: list[float] = []
            if all(cells):
                whole = np.mean([self.seeds(system, c) for c in self.columns(system)], axis=0).tolist()
            table.add_row(system, *cells, self._cell(whole))
        return table

    def _cell(self, values: Sequence[float]) -> str:
        if len(values) < 2:
            return f"{values[0]:.1f}" if values else ""
        each = " ".join(f"{value:.1f}" for value in values)
        return f"{np.mean(values):.1f} ±{np.std(values, ddof=1):.1f}\n[dim]{each}[/]"

    def margin_table(self, ours: str, rivals: Sequence[str]) -> Table:
        """A row a rival and column: the difference, its interval, each seed's, and the verdict."""
        over = "seeds" if self.clusters is None else "queries"
        table = Table(
            f"{ours} over", "column", title=f"{self.title}: margins, {self.unit}", title_justify="left"
        )
        for name in ("difference", f"95 % over {over}", "each seed"):
            table.add_column(name, justify="right")
        table.add_column("verdict")
        for rival in rivals:
            for m in self.margins(ours, rival):
                each = " ".join(f"{value:+.1f}" for value in m.seeds)
                ends = f"{m.low:+.1f} to {m.high:+.1f}" if m.low > -np.inf else ""
                table.add_row(rival, m.column, f"{m.mean:+.1f}", ends, each, m.verdict)
            table.add_section()
        return table

    def rows(self, ours: str, rivals: Sequence[str], published: str) -> list[dict[str, object]]:
        """For --json. The goal: clearly ahead of the published recipe."""
        rows: list[dict[str, object]] = [
            {
                "name": f"{self.title}: {system}, {column}",
                "value": round(float(np.mean(self.seeds(system, column))), 2),
                "unit": self.unit,
                "seeds": [round(value, 2) for value in self.seeds(system, column)],
            }
            for system in self.systems
            for column in self.columns(system)
        ]
        for rival in rivals:
            for m in self.margins(ours, rival):
                goal = {"goal": "clearly ahead", "holds": m.verdict == "clearly ahead"}
                rows.append(
                    {
                        "name": f"{self.title}: {ours} over {rival}, {m.column}",
                        "value": round(m.mean, 2),
                        "unit": self.unit,
                        "seeds": [round(value, 2) for value in m.seeds],
                        "interval": [round(m.low, 2), round(m.high, 2)] if m.low > -np.inf else None,
                        "verdict": m.verdict,
                        **(goal if rival == published else {}),
                    }
                )
        return rows


def over_seeds(values: Array) -> tuple[float, float]:
    """Student's interval of the mean; from one seed nothing is known."""
    if len(values) < 2:
        return -np.inf, np.inf
    half = T_975[min(len(values) - 2, len(T_975) - 1)] * float(values.std(ddof=1)) / len(values) ** 0.5
    return float(values.mean()) - half, float(values.mean()) + half


def _over_queries(columns: Sequence[tuple[Sequence[str], Array]]) -> tuple[float, float]:
    """Bootstrap interval of the mean over columns of each column's mean, drawing clusters whole.

    A cluster that several columns have queries of is drawn for all of them at once.
    """
    names = sorted({name for clusters, _ in columns for name in clusters})
    places = {name: place for place, name in enumerate(names)}
    rng = np.random.default_rng(0)
    times = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=RESAMPLES)
    draws = []
    for clusters, values in columns:
        codes = [places[name] for name in clusters]
        sums = np.bincount(codes, weights=values, minlength=len(names))
        draws.append((times @ sums) / np.maximum(times @ np.bincount(codes, minlength=len(names)), 1))
    low, high = np.quantile(np.mean(draws, axis=0), (0.025, 0.975))
    return float(low), float(high)

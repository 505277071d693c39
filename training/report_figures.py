"""The report's pictures: loss curves, similarity heat maps, and maps of the space before and after.

Each function is given plain numbers or views and gives a matplotlib figure; nothing is shown or written.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor
from torch.nn import functional as F

from training.views import View

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#7F7F7F")
"""Okabe and Ito's palette: told apart by every kind of colour vision."""

STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#9AA3AE",
    "axes.labelcolor": "#3B4450",
    "xtick.color": "#3B4450",
    "ytick.color": "#3B4450",
    "axes.grid": True,
    "grid.color": "#E7EAEE",
    "axes.axisbelow": True,
    "legend.frameon": False,
}

MAP_POINTS = 600
"""Points of each modality drawn in a map."""

MAP_LINKS = 20
"""Pairs of the same item joined by a line."""

HEAT_CELLS = 40
"""Rows and columns of a heat map."""


def loss_curves(histories: Sequence[Sequence[Mapping[str, float]]]) -> Figure:
    """The losses of every step, a panel a trained projector, smoothed over a fiftieth of the run."""
    with mpl.rc_context(STYLE):
        columns = min(len(histories), 3)
        width = 7.2 if columns == 1 else 4.6 * columns
        figure = Figure(figsize=(width, 3.2 * -(-len(histories) // 3)), dpi=160)
        grid = figure.subplots(-(-len(histories) // columns), columns, squeeze=False)
        for number, (axes, history) in enumerate(zip(grid.flat, histories, strict=False)):
            names = [name for name in history[0] if name not in ("step", "lr")]
            for name, colour in zip(names, COLOURS, strict=False):
                values = np.array([step[name] for step in history])
                steps = np.arange(1, len(values) + 1)
                window = max(1, len(values) // 50)
                smooth = np.convolve(values, np.ones(window) / window, mode="valid")
                axes.plot(steps, values, color=colour, alpha=0.15, linewidth=0.8)
                axes.plot(steps[window - 1 :], smooth, color=colour, linewidth=1.8, label=name)
            axes.set_title("loss" if len(histories) == 1 else f"loss of projector {number + 1}")
            axes.set_xlabel("step")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.set_ylim(bottom=0)
            axes.legend()
        for axes in list(grid.flat)[len(histories) :]:
            axes.set_visible(False)
        figure.tight_layout()
    return figure


def comparable(views: Sequence[View]) -> list[tuple[View, View]]:
    """Pairs of views in different spaces with labels or ids in common: what connecting is for."""
    return [
        (first, second)
        for first, second in combinations(views, 2)
        if first.space != second.space and _common(first, second)[1]
    ]


def heat_map(first: View, second: View, vectors: str = "unified") -> Figure:
    """Cosines of two modalities' classes (means over a label), or of single items where there are none."""
    keys, names, kind = _rows(first, second)
    x, y = (
        _means(getattr(view, vectors), keys_of) for view, keys_of in zip((first, second), keys, strict=True)
    )
    cosines = (x @ y.T).numpy()
    with mpl.rc_context({**STYLE, "axes.grid": False}):
        side = 3.4 + 0.075 * len(names)
        figure = Figure(figsize=(side + 1.0, side), dpi=160)
        axes = figure.subplots()
        image = axes.imshow(cosines, cmap="magma", aspect="equal", interpolation="nearest")
        axes.set_title(f"{first.name} × {second.name}")
        axes.set_ylabel(f"{first.name}, {kind}")
        axes.set_xlabel(f"{second.name}, {kind}")
        _tick(axes, names)
        bar = figure.colorbar(image, ax=axes, fraction=0.046, pad=0.03)
        bar.outline.set_visible(False)
        bar.set_label("cosine")
        figure.tight_layout()
    return figure


def space_maps(views: Sequence[View]) -> Figure:
    """The first two principal components before and after connecting, coloured by modality.

    Before, each space stands for itself: two of them share axes only by number. Lines join the same item.
    """
    with mpl.rc_context({**STYLE, "axes.grid": False}):
        figure = Figure(figsize=(10.4, 5.0), dpi=160)
        panels = figure.subplots(1, 2)
        for axes, title, vectors in zip(
            panels, ("before: native spaces", "after: the unified space"), ("native", "unified"), strict=True
        ):
            _map(axes, views, vectors)
            axes.set_title(title)
        handles, labels = panels[0].get_legend_handles_labels()
        legend = figure.legend(handles, labels, loc="lower center", ncols=len(views))
        for handle in legend.legend_handles:
            handle.set_sizes([50])  # type: ignore[union-attr]  # the points of a scatter
        figure.tight_layout(rect=(0, 0.06, 1, 1))
    return figure


def _map(axes: Axes, views: Sequence[View], vectors: str) -> None:
    parts = [F.normalize(getattr(view, vectors)[:MAP_POINTS].float(), dim=1) for view in views]
    width = max(part.shape[1] for part in parts)
    joined = torch.cat([F.pad(part, (0, width - part.shape[1])) for part in parts])
    centred = joined - joined.mean(0)
    _, scales, directions = torch.linalg.svd(centred, full_matrices=False)
    points = [part.numpy() for part in (centred @ directions[:2].T).split([len(part) for part in parts])]
    share = (scales[:2].square() / scales.square().sum()).tolist()
    for (first, a), (second, b) in combinations(list(zip(views, points, strict=True)), 2):
        _link(axes, first, a, second, b)
    size = max(9.0, min(30.0, 3000 / len(joined)))
    for view, xy, colour in zip(views, points, COLOURS, strict=False):
        axes.scatter(
            xy[:, 0], xy[:, 1], s=size, color=colour, alpha=0.6, linewidths=0, label=view.name, zorder=2
        )
    axes.set_xlabel(f"first component, {share[0]:.0%} of variance")
    axes.set_ylabel(f"second component, {share[1]:.0%}")
    axes.set_xticks([])
    axes.set_yticks([])


def _link(
    axes: Axes, first: View, a: npt.NDArray[np.float32], second: View, b: npt.NDArray[np.float32]
) -> None:
    rows = {name: row for row, name in enumerate(second.ids[: len(b)])}
    pairs = [(row, rows[name]) for row, name in enumerate(first.ids[: len(a)]) if name in rows]
    for i, j in pairs[:: max(1, len(pairs) // MAP_LINKS)]:
        axes.plot([a[i, 0], b[j, 0]], [a[i, 1], b[j, 1]], color="#9AA3AE", linewidth=0.4, alpha=0.6, zorder=1)


def _common(first: View, second: View) -> tuple[str, list[str]]:
    """What two views can be lined up by, and the values both have, the most frequent first."""
    labels = Counter(label for view in (first, second) for label in view.labels if label)
    both = set(first.labels) & set(second.labels)
    shared = [label for label, _ in labels.most_common() if label in both]
    if len(shared) > 1:
        return "by label", shared
    rows = set(second.ids)
    return "by item", [name for name in dict.fromkeys(first.ids) if name in rows]


def _rows(first: View, second: View) -> tuple[list[list[list[int]]], list[str], str]:
    """For each view the rows behind each line of the heat map; the lines' names; what they are."""
    kind, names = _common(first, second)
    chosen = sorted(names[:HEAT_CELLS]) if kind == "by label" else names[:HEAT_CELLS]
    rows: list[list[list[int]]] = []
    for view in (first, second):
        places: dict[str | None, list[int]] = {}
        for row, key in enumerate(view.labels if kind == "by label" else view.ids):
            places.setdefault(key, []).append(row)
        rows.append([places[name] for name in chosen])
    return rows, chosen, kind


def _means(vectors: Tensor, rows: Sequence[Sequence[int]]) -> Tensor:
    unit = F.normalize(vectors.float(), dim=1)
    return F.normalize(torch.stack([unit[list(each)].mean(0) for each in rows]), dim=1)


def _tick(axes: Axes, names: Sequence[str]) -> None:
    """Name rows and columns where the names are words and fit."""
    if max(len(name) for name in names) > 28 or all(name.isdigit() for name in names):
        axes.set_xticks([])
        axes.set_yticks([])
        return
    size = 8.5 if len(names) <= HEAT_CELLS // 2 else 6.5
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=size)
    axes.set_yticks(range(len(names)), names, fontsize=size)

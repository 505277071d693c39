"""A run as a table for the terminal: the trained connector beside its closed-form baselines."""

from rich.table import Table

from training.run import TRAINED, Run


def comparison(made: Run) -> Table:
    """One row a direction of retrieval: mAP and R@1 of every system, and of chance; then the score."""
    systems = list(made.measurements)
    table = Table(title="connector and baselines: mAP (R@1), %", title_justify="left")
    table.add_column("")
    for name in (*systems, "chance"):
        table.add_column(name, justify="right", no_wrap=True)
    for index, line in enumerate(made.measurements[TRAINED]):
        if not line.task.startswith("retrieval") or line.vectors != "unified":
            continue
        figures = [made.measurements[system][index].figures for system in systems]
        shares = [(found["mAP"].value, found["R@1"].value) for found in figures]
        shares.append((figures[0]["mAP"].chance, figures[0]["R@1"].chance))
        cells = [f"{100 * precision:.1f} ({100 * first:.1f})" for precision, first in shares]
        table.add_row(f"{line.what}, {line.task.removeprefix('retrieval ')}", *cells)
    table.add_section()
    table.add_row("score", *(f"{100 * made.scores[system]:.1f}" for system in systems), "")
    return table

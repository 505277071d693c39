"""`isthmus connectors publish | activate | rollback | list | import`: the connectors a service can switch to.

They call a running service, or with `--data-dir` prepare one that is stopped.
"""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from service.commands.options import URL_VARIABLE
from service.releases.publishing import Target, former_of, target_of
from service.schemas.job_replies import JobReply
from training.commands import connectors_app, progress

app = typer.Typer()
app.add_typer(connectors_app, name="connectors", help="Publish, activate, list and import connectors.")

DEFAULT_URL = "http://127.0.0.1:8080"

Url = Annotated[str, typer.Option(envvar=URL_VARIABLE, help="The running service")]
DataDir = Annotated[Path | None, typer.Option(help="A stopped service's data directory, in place of --url")]


@connectors_app.command()
def publish(
    directory: Annotated[
        list[Path], typer.Argument(help="Connectors as isthmus train makes them, one per leaf")
    ],
    onto: Annotated[
        str | None, typer.Option(help="The release they are added to; else the active one")
    ] = None,
    activate_it: Annotated[bool, typer.Option("--activate", help="Switch to it, too")] = False,
    url: Url = DEFAULT_URL,
    data_dir: DataDir = None,
) -> None:
    """Publish connectors: each takes the place of the one for its leaf, the others stay."""
    target = _target(url, data_dir)
    version = target.publish(directory, onto)
    typer.echo(f"published {version}")
    if activate_it:
        _activate(target, version)


@connectors_app.command()
def activate(
    version: Annotated[str, typer.Argument(help="As isthmus connectors list names it")],
    url: Url = DEFAULT_URL,
    data_dir: DataDir = None,
) -> None:
    """Switch to a release: every stored point is projected anew, nothing is embedded, requests go on."""
    _activate(_target(url, data_dir), version)


@connectors_app.command()
def rollback(url: Url = DEFAULT_URL, data_dir: DataDir = None) -> None:
    """Go back to the release that was active before; only what was written since is projected."""
    target = _target(url, data_dir)
    _activate(target, former_of(target))


@connectors_app.command("list")
def list_(url: Url = DEFAULT_URL, data_dir: DataDir = None) -> None:
    """List every release, and which is active."""
    table = Table("version", "", "origin", "calibration", "connectors", box=None, pad_edge=False)
    for each in _target(url, data_dir).listing().available:
        mark = "active" if each.active else "former" if each.former else ""
        calibration = "its own" if each.calibrated else "inherited"
        table.add_row(each.version, mark, each.origin, calibration, ", ".join(each.connectors))
    Console(width=200).print(table)


def _target(url: str, data_dir: Path | None) -> Target:
    return target_of(url if data_dir is None else str(data_dir))


def _activate(target: Target, version: str) -> None:
    with progress("refresh") as show:

        def shown(job: JobReply) -> None:
            if job.progress.total:
                show(job.progress.done, job.progress.total)

        sentence = target.activate(version, shown)
    typer.echo(sentence)

"""The command line: `isthmus serve`, and every other command, imported only when it is called.

`serve`, `config` and `version` are here; `COMMANDS` says which modules hold the others, each in a typer app
called `app`, so that `isthmus serve` never pays for importing what trains.
"""

import sys
from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from connectors.errors import IsthmusError
from service.commands.options import settings_with
from service.settings import Settings

COMMANDS: Mapping[str, tuple[str, str]] = {
    "demo": ("service.commands.demo", "Serve with the sample gallery in it"),
    "train": ("training.commands", "Train a connector from a recipe"),
    "features": ("training.commands", "Store the native vectors of a data set"),
    "evaluate": ("training.commands", "Measure a bundle or a connector on data"),
    "ingest": ("service.commands.ingest", "Ingest a folder, an archive or a manifest"),
    "backup": ("service.commands.store", "Back up every collection and its media"),
    "restore": ("service.commands.store", "Restore a backup into a new data directory"),
    "export": ("service.commands.store", "Write a collection to a Parquet file"),
    "import": ("service.commands.store", "Read a Parquet file into a collection"),
    "connectors": ("service.commands.connectors", "Publish, activate, list and import connectors"),
    "bundle": ("service.commands.bundle", "Build, verify and list bundles"),
}
"""Commands in other modules: the module of each, and its one line of help."""


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Where the index and the media are kept")] = None,
    bundle: Annotated[str | None, typer.Option(help="compact, full, or the path of a bundle")] = None,
    device: Annotated[str | None, typer.Option(help="Where the encoders run: auto, cpu, cuda ...")] = None,
) -> None:
    """Serve. Options override ISTHMUS_* variables; `isthmus config` lists those."""
    from service.http.server import serve as run

    given = {"host": host, "port": port, "data_dir": data_dir, "bundle": bundle, "device": device}
    raise typer.Exit(run(settings_with(**given)))


def config(
    what: Annotated[str, typer.Argument(help="settings, or recipe")] = "settings",
    recipe: Annotated[str, typer.Argument(help="With `recipe`: a file, or a shipped one")] = "default",
) -> None:
    """Print every setting, its value now and what it means; or a training recipe with every value."""
    if what == "recipe":
        from training.recipe import load_recipe
        from training.recipe_text import recipe_text

        typer.echo(recipe_text(load_recipe(recipe)), nl=False)
        return
    if what != "settings":
        raise typer.BadParameter(f"{what!r} is neither settings nor recipe")
    settings = settings_with()
    table = Table("variable", "value", "meaning", box=None, pad_edge=False)
    for name, field in Settings.model_fields.items():
        value = "***" if name.endswith("_key") and getattr(settings, name) else getattr(settings, name)
        table.add_row(f"ISTHMUS_{name.upper()}", str(value), field.description)
    Console().print(table)


def version() -> None:
    """Print the version."""
    typer.echo(f"isthmus {installed_version('isthmus')}")


def command_line(called: str) -> typer.Typer:
    """Return the app of every command.

    Of those in other modules only `called` is imported; the others have their help.
    """
    app = typer.Typer(
        no_args_is_help=True,
        add_completion=False,
        help="Embed text, images, sounds and point clouds into one space, and search across them.",
    )
    for command in (serve, config, version):
        app.command()(command)
    if called in COMMANDS:
        app.add_typer(import_module(COMMANDS[called][0]).app)
    else:
        for name, (_, line) in COMMANDS.items():
            app.command(name, help=line)(lambda: None)
    return app


def publish_trained(directory: Path, target: str) -> str:
    """Publish what `isthmus train` made to a service or a data directory; return the release's version."""
    from service.releases.publishing import target_of

    return target_of(target).publish([directory])


def main() -> None:
    """Run `isthmus`: its entry point."""
    app = command_line(next(iter(sys.argv[1:]), ""))
    try:
        app(obj=publish_trained)
    except IsthmusError as error:
        typer.echo(f"error: {error.message}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()

"""`isthmus bundle build | verify | list`: make bundles from published weights, check and list them."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from connectors.bundle_build import EncoderSource, build_bundle, list_bundles, verify_bundle
from connectors.errors import IsthmusError

app = typer.Typer(no_args_is_help=True)
bundle = typer.Typer(no_args_is_help=True, help="Build, verify and list bundles.")
app.add_typer(bundle, name="bundle")

_WEIGHTS = "A path, or hf-hub:OWNER/REPO/FILE"


@bundle.command()
def build(
    name: Annotated[str, typer.Argument(help="full: CLIP, CLAP and ULIP-2; any other name: what is given")],
    output: Annotated[Path, typer.Option(help="The bundle's folder; a former one there is replaced")],
    clip: Annotated[str | None, typer.Option(help=f"Weights of CLIP. {_WEIGHTS}")] = None,
    clap: Annotated[str | None, typer.Option(help=f"Checkpoint of LAION CLAP. {_WEIGHTS}")] = None,
    ulip: Annotated[str | None, typer.Option(help=f"Checkpoint of ULIP-2. {_WEIGHTS}")] = None,
    connector: Annotated[list[Path] | None, typer.Option(help="A connector's folder, one per leaf")] = None,
    clip_model: Annotated[str, typer.Option(help="As open_clip names it")] = "ViT-B-32-quickgelu",
    clap_model: Annotated[str, typer.Option(help="HTSAT-tiny or HTSAT-base")] = "HTSAT-tiny",
    ulip_model: Annotated[str, typer.Option(help="pointbert or pointbert-colored")] = "pointbert",
    dtype: Annotated[str, typer.Option(help="float32, bfloat16, float16, int8 or auto")] = "auto",
    description: Annotated[str, typer.Option(help="What it is, for `isthmus bundle list`")] = "",
) -> None:
    """Make a bundle of full-size encoders and connectors, after loading every part once."""
    sources = {
        "clip": EncoderSource(f"open_clip/{clip_model}", clip),
        "clap": EncoderSource(f"laion_clap/{clap_model}", clap),
        "ulip": EncoderSource(f"ulip/{ulip_model}", ulip),
    }
    if name != "full":
        sources = {space: source for space, source in sources.items() if source.weights or space == "clip"}
    built = build_bundle(name, sources, connector or [], output, dtype=dtype, description=description)
    typer.echo(f"built {output}: {', '.join(built.serve)}; serve it with isthmus serve --bundle {output}")


@bundle.command()
def verify(name: Annotated[str, typer.Argument(help="A bundle's name or folder")]) -> None:
    """Check a bundle: files, hashes, architectures, and connectors against encoders."""
    for part, finding in verify_bundle(name):
        typer.echo(f"{part}: {finding}")


@bundle.command("list")
def list_() -> None:
    """List the bundles that are shipped and those in $ISTHMUS_BUNDLES (~/.isthmus/bundles)."""
    table = Table("name", "serves", "connectors", "folder", box=None, pad_edge=False)
    for folder, found in list_bundles():
        if isinstance(found, IsthmusError):
            table.add_row(folder.name, "[red]unusable[/]", found.message, str(folder))
        else:
            table.add_row(found.name, ", ".join(found.serve), ", ".join(found.connectors), str(folder))
    Console(width=200).print(table)

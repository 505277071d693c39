"""`isthmus demo`: serve with the sample gallery in it."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def demo(
    host: Annotated[str | None, typer.Option(help="Address to listen on")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Where the index and the media are kept")] = None,
    bundle: Annotated[str | None, typer.Option(help="compact, full, or the path of a bundle")] = None,
    device: Annotated[str | None, typer.Option(help="Where the encoders run: cpu, cuda, cuda:1 ...")] = None,
) -> None:
    """Serve with the sample gallery in it: sounds, pictures, shapes and sentences to search among.

    Like `serve`, but an index without the gallery gets it before the service is ready. Starting it again
    stores nothing twice.
    """
    from service.commands.options import settings_with
    from service.gallery.filling import WELCOME, fill
    from service.http.server import serve

    given = {"host": host, "port": port, "data_dir": data_dir, "bundle": bundle, "device": device}
    raise typer.Exit(serve(settings_with(**given), prepare=fill, welcome=WELCOME))

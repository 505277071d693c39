"""`isthmus backup`, `restore`, `export` and `import`: what is kept, taken out and brought back.

They open the data directory themselves, so the service that uses it must be stopped first; but `backup --url`
asks the running service.
"""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from connectors.errors import ConfigError
from service.backup import restore_backup, write_backup
from service.client import Client
from service.errors import IndexUnavailable
from service.export import export_collection, import_collection, read_layout
from service.index.edge_engine import EdgeEngine
from service.index.protocol import Layout
from service.index.vector_index import VectorIndex
from service.media_store import MediaStore

app = typer.Typer(no_args_is_help=True, help="Back up, restore, export and import what is kept")

DataDir = Annotated[Path, typer.Option(help="Where the index and the media are kept")]
Collection = Annotated[str, typer.Option(help="The collection")]
DEFAULT_DATA_DIR = Path("isthmus-data")


@app.command()
def backup(
    target: Annotated[Path, typer.Argument(help="The new directory to write")],
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Annotated[str | None, typer.Option(help="A running service, in place of its data directory")] = None,
) -> None:
    """Back up every collection and its media."""
    if target.exists():
        raise ConfigError(f"{target} exists; name a new directory for the backup")
    if url is not None:
        with Client(url) as client:
            manifest = client.backup(target)
    else:
        manifest = _backup_stopped(data_dir, target)
    Console().print(f"{len(manifest['collections'])} collections, {len(manifest['files'])} files in {target}")


def _backup_stopped(data_dir: Path, target: Path) -> dict[str, Any]:
    try:
        engine = EdgeEngine(data_dir / "index")
    except IndexUnavailable as error:
        raise IndexUnavailable(f"{error.message}; back a running service up with --url") from error
    try:
        media = MediaStore.open(data_dir / "media")
        return write_backup(engine, media, data_dir / "connectors", target)
    finally:
        engine.close()


@app.command()
def restore(
    source: Annotated[Path, typer.Argument(help="A backup")], data_dir: DataDir = DEFAULT_DATA_DIR
) -> None:
    """Check a backup and bring it into a new data directory."""
    manifest = restore_backup(source, data_dir)
    Console().print(f"{', '.join(manifest['collections'])} as of {manifest['created']} in {data_dir}")


@app.command("export")
def export_(
    target: Annotated[Path, typer.Argument(help="The new Parquet file to write")],
    collection: Collection = "default",
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Write a collection's points, vectors and metadata to a Parquet file."""
    engine = EdgeEngine(data_dir / "index")
    found = engine.current().get(collection)
    with VectorIndex(engine, found.layout if found else Layout(0, {}, "")) as index:
        count = export_collection(index, collection, target)
    Console().print(f"{count} points of {collection} in {target}")


@app.command("import")
def import_(
    source: Annotated[Path, typer.Argument(help="A Parquet file that export wrote")],
    collection: Collection = "default",
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Write a Parquet file's points to a collection."""
    with VectorIndex(EdgeEngine(data_dir / "index"), read_layout(source)) as index:
        count = import_collection(index, collection, source)
    Console().print(f"{count} points of {source} in {collection}")

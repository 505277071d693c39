"""`isthmus backup`, `restore`, `export` and `import`: the stored data, taken out and brought back.

They open the index and the media store that the settings name themselves, so the service that uses the data
directory must be stopped first; but `backup --url` asks the running service.
"""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from connectors.errors import ConfigError, MissingFiles
from service.backup.directory import restore_backup, write_backup
from service.backup.export import export_collection, import_collection, read_layout
from service.client import reaching
from service.commands.options import URL_VARIABLE, service_meant, settings_with
from service.errors import IndexUnavailable
from service.index.edge.edge_backend import EdgeBackend
from service.index.opening import index_folder, open_configured
from service.index.protocol import Layout
from service.index.vector_index import VectorIndex
from service.media.store import MediaStore
from service.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Back up, restore, export and import what is kept")

DataDir = Annotated[
    Path | None, typer.Option(help="Where the index and the media are kept; ISTHMUS_DATA_DIR if left out")
]
Collection = Annotated[str, typer.Option(help="The collection")]
NOTHING = Layout(0, {}, "")
"""The layout of an index that is only read."""


@app.command()
def backup(
    context: typer.Context,
    target: Annotated[Path, typer.Argument(help="The new directory to write")],
    data_dir: DataDir = None,
    url: Annotated[
        str | None,
        typer.Option(envvar=URL_VARIABLE, help="A running service, in place of its data directory"),
    ] = None,
) -> None:
    """Back up every collection and its media."""
    url = service_meant(context, url, "data_dir")
    if target.exists():
        raise ConfigError(f"{target} exists; name a new directory for the backup")
    if url is not None:
        with reaching(url) as client:
            manifest = client.backup(target)
    else:
        manifest = _backup_stopped(_settings(data_dir), target)
    Console().print(f"{len(manifest['collections'])} collections, {len(manifest['files'])} files in {target}")


def _backup_stopped(settings: Settings, target: Path) -> dict[str, Any]:
    _check_kept(settings)
    try:
        index = _open(settings, NOTHING)
    except IndexUnavailable as error:
        raise IndexUnavailable(f"{error.message}; back a running service up with --url") from error
    with index:
        media = MediaStore.open(settings.data_dir / "media", settings.media_url)
        return write_backup(index.backend, media, settings.data_dir / "connectors", target)


@app.command()
def restore(source: Annotated[Path, typer.Argument(help="A backup")], data_dir: DataDir = None) -> None:
    """Check a backup and restore it into a new data directory."""
    settings = _settings(data_dir)
    if settings.qdrant_url or settings.index != "edge":
        raise ConfigError(
            "a backup holds an index for Edge, and the settings name another: unset ISTHMUS_QDRANT_URL and "
            "ISTHMUS_INDEX"
        )
    manifest = restore_backup(source, settings.data_dir, settings.media_url)
    Console().print(
        f"{', '.join(manifest['collections'])} as of {manifest['created']} in {settings.data_dir}"
    )


@app.command("export")
def export_(
    target: Annotated[Path, typer.Argument(help="The new Parquet file to write")],
    collection: Collection = "default",
    data_dir: DataDir = None,
) -> None:
    """Write a collection's points, vectors and metadata to a Parquet file."""
    settings = _settings(data_dir)
    _check_kept(settings)
    with _open(settings, NOTHING) as index:
        count = export_collection(index, collection, target)
    Console().print(f"{count} points of {collection} in {target}")


@app.command("import")
def import_(
    source: Annotated[Path, typer.Argument(help="A Parquet file that export wrote")],
    collection: Collection = "default",
    data_dir: DataDir = None,
) -> None:
    """Write a Parquet file's points to a collection."""
    with _open(_settings(data_dir), read_layout(source)) as index:
        count = import_collection(index, collection, source)
    Console().print(f"{count} points of {source} in {collection}")


def _settings(data_dir: Path | None) -> Settings:
    return settings_with(data_dir=data_dir)


def _check_kept(settings: Settings) -> None:
    """Raise `MissingFiles` where the data directory holds no index: opening one to read it would make it."""
    folder = settings.data_dir
    if settings.qdrant_url:
        return
    if not folder.is_dir():
        raise MissingFiles(f"there is no data directory {folder}; name another with --data-dir")
    if not index_folder(folder, settings.index).is_dir():
        raise MissingFiles(f"there is no index in {folder}; name a service's data directory with --data-dir")


def _open(settings: Settings, layout: Layout) -> VectorIndex:
    """Open the index that the settings name. Stored data in Edge stays as it is, whatever they say."""
    if not settings.qdrant_url and settings.index == "edge":
        return VectorIndex(EdgeBackend(index_folder(settings.data_dir, "edge")), layout)
    return open_configured(layout, settings)

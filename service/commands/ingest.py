"""`isthmus ingest`: a folder, an archive or a manifest into the index, with a progress bar.

With `--url` a running service does it; without, this process opens the data directory and does the same job
itself. Either way it can be stopped at any moment, and the same command goes on where it was.
"""

import asyncio
import json
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from connectors.errors import ConfigError, MissingFiles
from service.client import Client, reaching
from service.ingest.inputs import SourceKind
from service.jobs.record import Fault
from service.schemas.job_replies import IngestJobResult, JobReply
from service.settings import Settings

app = typer.Typer()

POLL_SECONDS = 0.25
TRIES = 5
"""How often an upload is tried where the connection breaks."""
SHOWN_FAULTS = 20


@app.command()
def ingest(
    path: Annotated[
        str, typer.Argument(help="A folder, an archive (zip, tar, tar.gz) or a manifest (.jsonl)")
    ],
    collection: Annotated[str, typer.Option(help="Where the items go")] = "default",
    metadata: Annotated[str, typer.Option(help="A JSON object that goes with every item")] = "{}",
    url: Annotated[str | None, typer.Option(help="A running service; this process does it if unset")] = None,
    on_server: Annotated[
        bool, typer.Option("--on-server", help="PATH is on the service's machine; nothing is sent")
    ] = False,
    data_dir: Annotated[
        Path | None, typer.Option(help="Without --url: where index and media are kept")
    ] = None,
    bundle: Annotated[str | None, typer.Option(help="Without --url: compact, full, or a path")] = None,
) -> None:
    """Embed and index everything in PATH. Ends with status 1 where an item could not be ingested."""
    from service.commands.options import settings_with

    given = _json_object(metadata)
    local = Path(path)
    if not on_server and not local.exists():
        raise MissingFiles(f"there is no {path}")
    if on_server and url is None:
        raise ConfigError("--on-server names a path of the service at --url; give that too")
    settings = settings_with(data_dir=data_dir, bundle=bundle)
    with _Bar() as bar:
        if url is None:
            asyncio.run(_ingest_here(bar, settings, local.resolve(), collection, given))
        else:
            with reaching(url) as client:
                _ingest_there(bar, client, settings, path, on_server, collection, given)
    raise typer.Exit(bar.summarise())


class _Bar:
    """A progress bar over one job or several in a row, and the sum of what became of their items."""

    def __init__(self) -> None:
        self._console = Console()
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=self._console,
        )
        self._task = self._progress.add_task("ingesting", total=None, rate="")
        self._behind = 0
        self._counts = {"stored": 0, "unchanged": 0, "failed": 0}
        self._faults: list[Fault] = []
        self.total: int | None = None
        """Items of all jobs, where that is known before the first."""

    def __enter__(self) -> "_Bar":
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()

    def show(self, job: JobReply) -> None:
        """Show how far a job is."""
        progress, rate = job.progress, job.progress.rate
        self._progress.update(
            self._task,
            description="ingesting" if job.state == "running" else job.state,
            completed=self._behind + progress.done,
            total=self.total if self.total is not None else progress.total,
            rate="" if rate is None else f"{rate:g} items/s",
        )

    def add(self, job: JobReply) -> None:
        """Count a job that has ended. Raises `ConfigError` for one that did not end well."""
        if job.state != "done" or not isinstance(job.result, IngestJobResult):
            reason = job.failure.message if job.failure else f"it was {job.state}"
            raise ConfigError(f"job {job.id} did not end well: {reason}")
        self.show(job)
        self._behind += job.progress.done
        for name, count in job.result.model_dump().items():
            self._counts[name] += count
        self._faults += [Fault(each.item, each.code, each.message) for each in job.errors]

    def add_faults(self, faults: list[Fault]) -> None:
        """Count items that no job was given."""
        self._behind += len(faults)
        self._counts["failed"] += len(faults)
        self._faults += faults

    def summarise(self) -> int:
        """Print what became of the items; gives the exit status."""
        for fault in self._faults[:SHOWN_FAULTS]:
            self._console.print(f"[red]{escape(fault.item)}[/]: {escape(fault.message)}", highlight=False)
        failed = self._counts["failed"]
        if failed > SHOWN_FAULTS:
            self._console.print(f"... and {failed - SHOWN_FAULTS} more that could not be ingested")
        stored, unchanged = self._counts["stored"], self._counts["unchanged"]
        said = f"{stored} stored, {unchanged} were there already, {failed} failed"
        self._console.print(said, highlight=False)
        return 1 if failed else 0


def _ingest_there(
    bar: _Bar,
    client: Client,
    settings: Settings,
    path: str,
    on_server: bool,
    collection: str,
    metadata: dict[str, Any],
) -> None:
    """Let a running service ingest a path of its own, or what lies here."""
    from service.ingest.manifest import count_items
    from service.ingest.pack import items_of, pack

    options: dict[str, Any] = {"collection": collection, "metadata": metadata}
    local = Path(path)
    if on_server:
        _follow_there(bar, client, client.ingest(_kind_by_name(path), path, **options))
    elif _kind(local) == "archive":
        with local.open("rb") as file:
            _follow_there(bar, client, _uploaded(client, file, local.name, options))
    else:
        items, files = items_of(local)
        bar.total = sum(1 for _ in files.names()) if local.is_dir() else count_items(local)
        for number, part in enumerate(pack(items, files, settings.max_item_bytes), 1):
            bar.add_faults(part.faults)
            if part.items:
                name = f"{local.name} part {number}"
                _follow_there(bar, client, _uploaded(client, part.archive, name, options))


def _uploaded(client: Client, file: Any, name: str, options: dict[str, Any]) -> JobReply:
    """The job for an archive. Sent again where the connection breaks: the key makes that one job."""
    key = uuid.uuid4().hex
    for left in reversed(range(TRIES)):
        try:
            file.seek(0)
            return client.ingest_upload(file, name=name, idempotency_key=key, **options)
        except httpx.TransportError:
            if not left:
                raise
            time.sleep(1)
    raise AssertionError("the last try returns or raises")


def _follow_there(bar: _Bar, client: Client, job: JobReply) -> None:
    with _said_on_interrupt(f"job {job.id} goes on in the service; DELETE /jobs/{job.id} ends it"):
        while not job.has_ended:
            bar.show(job)
            time.sleep(POLL_SECONDS)
            job = client.job(job.id)
    bar.add(job)


async def _ingest_here(
    bar: _Bar, settings: Settings, path: Path, collection: str, metadata: dict[str, Any]
) -> None:
    """Do a job in this process: the one that was begun before for the same, or a new one."""
    from service.ingest.submission import IngestRequest, submit
    from service.jobs.record import job_reply
    from service.runtime import Runtime

    root = path if path.is_dir() else path.parent
    runtime = Runtime(settings.model_copy(update={"ingest_roots": (*settings.ingest_roots, root)}))
    try:
        await runtime.load()
        asked = IngestRequest(_kind(path), collection, str(path), metadata=metadata)
        wanted = {"source": asked.source, "path": asked.path, "collection": collection, "metadata": metadata}
        begun = [
            job
            for job in runtime.jobs.all()
            if job.kind == "ingest"
            and job.state not in ("done", "cancelled")
            and wanted.items() <= job.params.items()
        ]
        record = (
            await runtime.jobs.resume(begun[0].id)
            if begun
            else await submit(runtime.jobs, runtime.inputs, runtime.settings, asked, None)
        )
        try:
            while not record.has_ended:
                bar.show(JobReply(**job_reply(record, runtime.jobs.rate(record.id))))
                await asyncio.sleep(POLL_SECONDS)
                record = runtime.jobs.get(record.id)
        except asyncio.CancelledError:
            await runtime.jobs.pause(record.id)  # else the next service would go on with it
            Console().print("stopped; the same command goes on")
            raise
        bar.add(JobReply(**job_reply(record, None)))
    finally:
        runtime.drain()
        await runtime.close()


@contextmanager
def _said_on_interrupt(message: str) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        Console().print(message)
        raise


def _kind(path: Path) -> SourceKind:
    """Return the kind of what lies here. Raises `ConfigError` for neither folder, archive nor manifest."""
    kind = _kind_by_name(path.name)
    if path.is_dir():
        return "folder"
    if kind == "folder":
        raise ConfigError(f"{path} is no folder, and neither .zip, .tar, .tar.gz nor .jsonl")
    return kind


def _kind_by_name(name: str) -> SourceKind:
    """Return the kind of a path that cannot be looked at, by its name."""
    if name.endswith((".jsonl", ".ndjson")):
        return "manifest"
    return "archive" if name.endswith((".zip", ".tar", ".tar.gz", ".tgz")) else "folder"


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"--metadata is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ConfigError("--metadata is not a JSON object")
    return value

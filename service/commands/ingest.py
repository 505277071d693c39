"""`isthmus ingest`: a folder, an archive or a manifest into the index, with a progress bar.

With `--url`, or where `ISTHMUS_URL` is set, a running service does it; without, or with `--data-dir` or
`--bundle`, this process opens the data directory and does the same job itself. Either way it can be stopped
at any moment, and the same command goes on where it was.
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
from service.commands.options import URL_VARIABLE, service_meant, settings_with
from service.ingest.inputs import SourceKind
from service.jobs.record import Fault
from service.schemas.job_replies import IngestJobResult, JobReply
from service.settings import Settings

app = typer.Typer()

POLL_SECONDS = 0.25
TRIES = 5
"""Attempts at an upload whose connection breaks."""
SHOWN_FAULTS = 20


@app.command()
def ingest(
    context: typer.Context,
    path: Annotated[
        str, typer.Argument(help="A folder, an archive (zip, tar, tar.gz) or a manifest (.jsonl)")
    ],
    collection: Annotated[str, typer.Option(help="Where the items go")] = "default",
    metadata: Annotated[str, typer.Option(help="A JSON object that goes with every item")] = "{}",
    url: Annotated[
        str | None, typer.Option(envvar=URL_VARIABLE, help="A running service; this process does it if unset")
    ] = None,
    on_server: Annotated[
        bool, typer.Option("--on-server", help="PATH is on the service's machine; nothing is sent")
    ] = False,
    data_dir: Annotated[
        Path | None, typer.Option(help="In place of --url: where index and media are kept")
    ] = None,
    bundle: Annotated[str | None, typer.Option(help="In place of --url: compact, full, or a path")] = None,
) -> None:
    """Embed and index everything in PATH. Ends with status 1 where an item could not be ingested."""
    url = service_meant(context, url, "data_dir", "bundle")
    given = _json_object(metadata)
    local = Path(path)
    if not on_server and not local.exists():
        raise MissingFiles(f"there is no {path}")
    if on_server and url is None:
        raise ConfigError("--on-server names a path of the service at --url; give that too")
    settings = settings_with(data_dir=data_dir, bundle=bundle)
    with _Bar() as bar:
        if url is None:
            asyncio.run(_ingest_in_process(bar, settings, local.resolve(), collection, given))
        else:
            with reaching(url) as client:
                _ingest_in_service(bar, client, settings, path, on_server, collection, given)
    raise typer.Exit(bar.summarise())


class _Bar:
    """A progress bar over one job or several in a row, and the sum of their items' outcomes."""

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
        self._finished_items = 0
        self._counts = {"stored": 0, "unchanged": 0, "failed": 0, "truncated": 0}
        self._faults: list[Fault] = []
        self.total: int | None = None
        """Items of all jobs, where that is known before the first."""

    def __enter__(self) -> "_Bar":
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()

    def show(self, job: JobReply) -> None:
        """Show a job's progress."""
        progress, rate = job.progress, job.progress.rate
        self._progress.update(
            self._task,
            description="ingesting" if job.state == "running" else job.state,
            completed=self._finished_items + progress.done,
            total=self.total if self.total is not None else progress.total,
            rate="" if rate is None else f"{rate:g} items/s",
        )

    def add(self, job: JobReply) -> None:
        """Count a job that has ended. Raises `ConfigError` for one that did not end well."""
        if job.state != "done" or not isinstance(job.result, IngestJobResult):
            reason = job.failure.message if job.failure else f"it was {job.state}"
            raise ConfigError(f"job {job.id} did not end well: {reason}")
        self.show(job)
        self._finished_items += job.progress.done
        for name, count in job.result.model_dump().items():
            self._counts[name] += count
        self._faults += [Fault(each.item, each.code, each.message) for each in job.errors]

    def add_faults(self, faults: list[Fault]) -> None:
        """Count items that no job was given."""
        self._finished_items += len(faults)
        self._counts["failed"] += len(faults)
        self._faults += faults

    def summarise(self) -> int:
        """Print the items' outcomes; return the exit status."""
        for fault in self._faults[:SHOWN_FAULTS]:
            self._console.print(f"[red]{escape(fault.item)}[/]: {escape(fault.message)}", highlight=False)
        failed = self._counts["failed"]
        if failed > SHOWN_FAULTS:
            self._console.print(f"... and {failed - SHOWN_FAULTS} more that could not be ingested")
        stored, unchanged = self._counts["stored"], self._counts["unchanged"]
        summary = f"{stored} stored, {unchanged} were there already, {failed} failed"
        self._console.print(summary, highlight=False)
        if truncated := self._counts["truncated"]:
            self._console.print(f"{truncated} of the texts stored are longer than the encoder reads")
        return 1 if failed else 0


def _ingest_in_service(
    bar: _Bar,
    client: Client,
    settings: Settings,
    path: str,
    on_server: bool,
    collection: str,
    metadata: dict[str, Any],
) -> None:
    """Have a running service ingest a path on its machine, or an upload from this one."""
    from service.ingest.manifest import count_items
    from service.ingest.pack import items_of, pack

    options: dict[str, Any] = {"collection": collection, "metadata": metadata}
    local = Path(path)
    if on_server:
        _follow(bar, client, client.ingest(_kind_by_name(path), path, **options))
    elif _kind(local) == "archive":
        with local.open("rb") as file:
            _follow(bar, client, _upload(client, file, local.name, options))
    else:
        items, files = items_of(local)
        bar.total = sum(1 for _ in files.names()) if local.is_dir() else count_items(local)
        for number, part in enumerate(pack(items, files, settings.max_item_bytes), 1):
            bar.add_faults(part.faults)
            if part.items:
                name = f"{local.name} part {number}"
                _follow(bar, client, _upload(client, part.archive, name, options))


def _upload(client: Client, file: Any, name: str, options: dict[str, Any]) -> JobReply:
    """Upload an archive and return its job. The key makes it one job where a broken upload is sent again."""
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


def _follow(bar: _Bar, client: Client, job: JobReply) -> None:
    with _print_on_interrupt(f"job {job.id} goes on in the service; DELETE /jobs/{job.id} ends it"):
        while not job.has_ended:
            bar.show(job)
            time.sleep(POLL_SECONDS)
            job = client.job(job.id)
    bar.add(job)


async def _ingest_in_process(
    bar: _Bar, settings: Settings, path: Path, collection: str, metadata: dict[str, Any]
) -> None:
    """Run a job in this process: an unfinished one for the same source, or a new one."""
    from service.ingest.submission import IngestRequest, submit
    from service.jobs.record import job_reply
    from service.runtime import Runtime

    root = path if path.is_dir() else path.parent
    runtime = Runtime(settings.model_copy(update={"ingest_roots": (*settings.ingest_roots, root)}))
    try:
        await runtime.load()
        request = IngestRequest(_kind(path), collection, str(path), metadata=metadata)
        wanted = {
            "source": request.source,
            "path": request.path,
            "collection": collection,
            "metadata": metadata,
        }
        unfinished = [
            job
            for job in runtime.jobs.all()
            if job.kind == "ingest"
            and job.state not in ("done", "cancelled")
            and wanted.items() <= job.params.items()
        ]
        record = (
            await runtime.jobs.resume(unfinished[0].id)
            if unfinished
            else await submit(runtime.jobs, runtime.inputs, runtime.settings, request, None)
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
def _print_on_interrupt(message: str) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        Console().print(message)
        raise


def _kind(path: Path) -> SourceKind:
    """Return the kind of a local path. Raises `ConfigError` where it is no folder, archive or manifest."""
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

"""The command line of training: `isthmus features`, `train`, `evaluate` and `connectors import`.

`app` holds the commands; the service's command line mounts it. A command parses, calls one function of this
package and prints what came of it; every `IsthmusError` becomes one line on stderr and exit status 1.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from connectors.errors import ConfigError, IsthmusError

app = typer.Typer(no_args_is_help=True, help="Train and measure connectors.")
connectors_app = typer.Typer(no_args_is_help=True, help="Connector directories.")
app.add_typer(connectors_app, name="connectors")

stderr = Console(stderr=True)


class ModalityName(StrEnum):
    """The modalities, as an option's choices."""

    TEXT = "text"
    IMAGE = "image"
    AUDIO = "audio"
    POINT_CLOUD = "point_cloud"


class Precision(StrEnum):
    """The number format vectors are stored in."""

    FLOAT16 = "float16"
    FLOAT32 = "float32"


class Rate(ProgressColumn):
    """Items a second."""

    def render(self, task: Task) -> Text:
        """Show the speed of late, or where all came at once the speed of it all."""
        speed = task.finished_speed or task.speed
        if speed is None and task.elapsed:
            speed = (task.completed - task.fields["begun"]) / task.elapsed
        return Text(f"{speed:,.1f}/s" if speed else "", style="progress.data.speed")


@contextmanager
def explained() -> Iterator[None]:
    """Turn an error the user can do something about into its message."""
    try:
        yield
    except IsthmusError as error:
        stderr.print(f"[bold red]error[/] {escape(error.message)}", highlight=False, soft_wrap=True)
        raise typer.Exit(1) from error


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr with rate and remaining time; gives a function to tell it how much of what is done."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    bar, task = Progress(*columns, console=stderr), None

    def show(done: int, total: int) -> None:
        nonlocal task
        if task is None:  # what an earlier run did must not count in this one's speed
            bar.start()
            task = bar.add_task(what, total=total, completed=done, begun=done)
        bar.update(task, completed=done, total=total)

    try:
        yield show
    finally:
        if task is not None:
            bar.stop()


@app.command()
def features(
    source: Annotated[
        Path, typer.Argument(metavar="INPUT", help="Text file, JSONL, CSV, folder or media file")
    ],
    output: Annotated[Path, typer.Option(help="Feature-set directory to make")],
    modality: Annotated[ModalityName, typer.Option(help="What the input holds")],
    space: Annotated[str, typer.Option(help="The space's name: clip, clap, ulip, ...")],
    encoder: Annotated[str | None, typer.Option(help="Encoder, such as open_clip/ViT-B-32-quickgelu")] = None,
    weights: Annotated[str | None, typer.Option(help="The encoder's weights: a path or hub id")] = None,
    bundle: Annotated[str | None, typer.Option(help="Take the encoder of SPACE from this bundle")] = None,
    dtype: Annotated[Precision, typer.Option(help="Precision vectors are stored in")] = Precision.FLOAT32,
    batch_size: Annotated[int, typer.Option(min=1)] = 32,
    shard_size: Annotated[int, typer.Option(min=1, help="Items a shard: what a kill can cost")] = 1024,
    workers: Annotated[int, typer.Option(min=1, help="Decoding threads")] = 4,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...")] = "cpu",
) -> None:
    """Embed INPUT with a frozen encoder into a feature set.

    Killed at any moment, the same command goes on where it stopped. Files that cannot be used are left out
    and listed in skipped.jsonl.
    """
    from connectors.bundle import bundle_directory, load_bundle_encoder
    from connectors.registry import load_encoder
    from training.extraction import extract, read_skipped
    from training.inputs import read_inputs

    with explained():
        if (encoder is None) == (bundle is None):
            raise ConfigError("name either --encoder or --bundle")
        examples = read_inputs(source, modality.value)
        if encoder is not None:
            network = load_encoder(encoder, weights, device=device)
        else:
            directory = bundle_directory(bundle or "")
            network = load_bundle_encoder(directory, space, (modality.value,), device=device)
        with progress(f"{space} {modality.value}") as show:
            made = extract(
                network,
                modality.value,
                examples,
                output,
                space=space,
                root=source if source.is_dir() else source.parent,
                dtype=dtype.value,
                shard_size=shard_size,
                batch_size=batch_size,
                workers=workers,
                on_progress=show,
            )
        skipped = read_skipped(output)
    stderr.print(f"{len(made):,} vectors of {made.manifest.dim} in {output}", highlight=False)
    if skipped:
        stderr.print(
            f"[yellow]{len(skipped):,} items left out[/], see {output / 'skipped.jsonl'}; "
            f"the first: {escape(skipped[0]['message'])}",
            highlight=False,
            soft_wrap=True,
        )


@app.command()
def evaluate(
    data: Annotated[Path, typer.Option(help="A dataset's local copy, or a folder of feature sets")],
    bundle: Annotated[str | None, typer.Option(help="Bundle to measure, or to take encoders of")] = None,
    connector: Annotated[
        list[Path] | None,
        typer.Option(help="Connector directory; --bundle, or compact, embeds the media"),
    ] = None,
    connectors: Annotated[str | None, typer.Option(help="Another connector set of the bundle")] = None,
    dataset: Annotated[
        str | None,
        typer.Option(help="What --data is, if it cannot be told: esc50, jsonl, ..."),
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object, not tables")] = False,
    resamples: Annotated[int, typer.Option(min=0, help="Of the bootstrap; 0 for no intervals")] = 1000,
    seed: Annotated[int, typer.Option(help="Of the bootstrap")] = 0,
    batch_size: Annotated[int, typer.Option(min=1)] = 32,
    workers: Annotated[int, typer.Option(min=1, help="Decoding threads")] = 4,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...")] = "cpu",
) -> None:
    """Measure retrieval between all modalities, zero-shot classification, gaps and what is preserved.

    Every figure stands beside its chance level. Datasets are recognised by their layout.
    """
    from connectors.bundle import load_bundle
    from training.evaluation import evaluate_features, evaluate_media, space_with
    from training.evaluation_table import tables

    with explained():
        given = connector or []
        if bundle is None and not given:
            raise ConfigError("name a --bundle, or a --connector")
        if bundle is None and dataset is None and next(data.rglob("vectors.npy"), None) is not None:
            result = evaluate_features(given, data, resamples=resamples, seed=seed)
        else:
            name = bundle or "compact"
            space = (
                space_with(name, given, device=device)
                if given
                else load_bundle(name, connectors=connectors, device=device)
            )
            with progress("embedding") as show:
                result = evaluate_media(
                    space,
                    data,
                    dataset=dataset,
                    batch_size=batch_size,
                    workers=workers,
                    resamples=resamples,
                    seed=seed,
                    on_progress=show,
                )
        if json_output:
            typer.echo(json.dumps(result.json()))
            return
        Console(width=None if sys.stdout.isatty() else 200).print(tables(result.measurements))
        for skip in result.skipped[:5]:
            stderr.print(f"[yellow]left out[/] {escape(skip.message)}", highlight=False, soft_wrap=True)
        if len(result.skipped) > 5:
            stderr.print(f"[yellow]left out[/] {len(result.skipped) - 5:,} more")


LOSES = 3
"""Exit status of `train` where a closed form does better than what was trained."""


Publish = Callable[[Path, str], str]
"""Publishes a connector directory to what the user named; gives the version. The command line brings it."""


@app.command()
def train(
    context: typer.Context,
    recipe: Annotated[str, typer.Argument(help="A .toml or .yaml recipe")],
    output: Annotated[Path, typer.Option(help="Connector directory to make")],
    pseudo_pairs: Annotated[
        Path | None, typer.Option(help="Where pseudo-pairs are kept; by default beside the output")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, ...; by default cuda if there is one")
    ] = None,
    allow_worse: Annotated[bool, typer.Option(help="Succeed even where a closed form does better")] = False,
    publish: Annotated[
        str | None, typer.Option(metavar="TARGET", help="Publish it to a service's URL, or a data directory")
    ] = None,
) -> None:
    """Train a connector from feature sets, and measure it beside its closed-form baselines.

    Killed at any moment, the same command goes on where it stopped. Exit status 3: the connector is written,
    but ridge regression or Procrustes does better on the recipe's [evaluation]. Several processes: torchrun.
    """
    from training.recipe import load_recipe
    from training.run import run
    from training.run_table import comparison

    with explained(), progress("training") as show:
        made = run(
            load_recipe(recipe),
            output,
            pseudo_pairs=pseudo_pairs,
            device=device,
            on_phase=lambda phase: stderr.print(f"[dim]{phase}[/]"),
            on_step=lambda now: show(now.step, now.steps),
        )
    if made.scores:
        Console(width=None if sys.stdout.isatty() else 200).print(comparison(made))
    else:
        stderr.print(
            "[yellow]nothing to judge by[/]: the recipe names no \\[evaluation] sets, so nobody knows "
            "whether this connector is better than a closed form",
            soft_wrap=True,
        )
    stderr.print(f"{made.connection.connector.version} in {output}", highlight=False)
    if made.loses:
        stderr.print(
            f"[bold red]worse than {made.best_baseline}[/]: a closed form does better than what was trained. "
            "More epochs, more texts or the default recipe may help; --allow-worse accepts it",
            soft_wrap=True,
        )
        if not allow_worse:
            raise typer.Exit(LOSES)
    if publish is not None and os.environ.get("RANK", "0") == "0":
        to: Publish = context.obj
        with explained():
            version = to(output, publish)
        stderr.print(f"published to {escape(publish)}; activate it as {version}", highlight=False)


@connectors_app.command("import")
def import_connector(
    file: Annotated[Path, typer.Argument(help="ex_clap.pt, ex_ulip.pt, clap_clip.pt or ulip_clip.pt")],
    output: Annotated[Path, typer.Option(help="Connector directory to make")],
    kind: Annotated[str | None, typer.Option(help="ex_clap, ... where its name does not tell")] = None,
) -> None:
    """Convert a projector published by the authors of C-MCR and Ex-MCR."""
    from training.importer import import_authors_checkpoint

    with explained():
        if output.exists():
            raise ConfigError(f"{output} exists: choose another output")
        connector = import_authors_checkpoint(file, kind)
        connector.save(output)
    stderr.print(f"{connector.version} in {output}", highlight=False)
    for head, chain in connector.manifest.heads.items():
        stderr.print(f"  {head:18} {' -> '.join(chain) or 'untouched'}", highlight=False)

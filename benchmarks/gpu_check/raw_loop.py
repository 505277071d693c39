"""The raw loop: what decoding and the encoders do with no server around them.

Decoding is that of all cores at once, in threads, as the service decodes. The encoder is called with prepared
items, as the service calls it: joined, pinned, copied, run and copied back. Beside it, on a card: the network
alone by a CUDA graph, with channels last, and compiled.
"""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from benchmarks._rows import Row
from benchmarks.gpu_check import bundle, card
from benchmarks.gpu_check.findings import Note
from benchmarks.gpu_check.sizes import Sizes
from benchmarks.gpu_check.steps import Found, Scene, Step
from benchmarks.http_load.media import KINDS, write_files
from connectors.bundle import load_encoders
from connectors.encoder import Encoder, Prepared, TowerEncoder
from connectors.modality import Modality
from connectors.space import UnifiedSpace
from service.engine.cores import available_cores, compute_on

GRAPH_BATCHES = (32, 128)
COMPILED_BATCH = 128


@dataclass(frozen=True)
class Raw:
    """Items a second of one kind: decoded on all cores, and encoded at the best batch size."""

    decoded: float
    encoded: float

    @property
    def lesser(self) -> float:
        """The rate of a server that costs nothing."""
        return min(self.decoded, self.encoded)


measured: dict[Modality, Raw] = {}
"""The step's findings, for the service's share of it."""


def steps() -> list[Step]:
    """The raw loop, and what is tried only where time is left."""
    return [Step("raw loop", raw_loop, least=45, most=80)]


def compiled_steps() -> list[Step]:
    """Steps that take long to begin: only where much time is left."""
    return [Step("raw loop, compiled", compiled, least=240, most=120, needs_gpu=True)]


@cache
def files(sizes: Sizes, kind: str) -> list[bytes]:
    """The media of a kind, written to disk and read from there."""
    folder = Path(bundle.SCRATCH.name) / "media"
    folder.mkdir(exist_ok=True)
    count = sizes.texts if kind == "text" else sizes.files
    return [path.read_bytes() for path in write_files(folder, kind, count)]


def raw_loop(scene: Scene) -> Found:
    """Every kind of media."""
    sizes, device = scene.sizes, scene.device
    space, said = bundle.load(sizes, device), bundle.said(sizes)
    laid_out = None
    if scene.on_card:
        laid_out = load_encoders(bundle.path(sizes), device=device, dtype="auto", channels_last=True)
    for kind in KINDS:
        rate, items = _decoded(space, kind, files(sizes, kind)[: sizes.files])
        yield Row(f"{kind}{said}: decoded and prepared on {available_cores()} cores", rate, "items/s")
        rates = _encoded(space.encoder_of(kind), items, scene)
        for batch, found in rates.items():
            yield Row(f"{kind}{said}: encoder alone, batches of {batch}", found, "items/s")
        yield from _parts(f"{kind}{said}", space.encoder_of(kind), items, scene)
        measured[kind] = Raw(rate, max(rates.values()))
        if laid_out is None:
            yield Note(f"{kind}{said}: the network by a CUDA graph", "needs a GPU")
            continue
        for batch in GRAPH_BATCHES:
            yield _by_graph(space.encoder_of(kind), items, batch, scene)
        if kind == "image" and scene.left() > 0:
            for batch, found in _encoded(laid_out[space.space_of(kind)], items, scene).items():
                yield Row(f"{kind}: encoder alone, channels last, batches of {batch}", found, "items/s")


def compiled(scene: Scene) -> Found:
    """Pictures and texts through torch.compile: the rate, and the seconds the first batch takes."""
    encoders = load_encoders(bundle.path(scene.sizes), device=scene.device, dtype="auto", compiled=True)
    space = bundle.load(scene.sizes, "cpu")
    for kind in ("image", "text"):
        encoder = encoders[space.space_of(kind)]
        _, items = _decoded(space, kind, files(scene.sizes, kind)[:COMPILED_BATCH])
        started = time.perf_counter()
        encoder.encode_prepared(items)
        yield Row(f"{kind}: compiled, the first batch of {len(items)}", time.perf_counter() - started, "s")
        found = card.rate(scene.device, lambda e=encoder, i=items: _encode(e, i), scene.sizes.raw_seconds)
        yield Row(f"{kind}: encoder alone, compiled, batches of {len(items)}", found, "items/s")


def _decoded(space: UnifiedSpace, kind: Modality, contents: Sequence[bytes]) -> tuple[float, list[Prepared]]:
    """Items a second that all cores decode and prepare, and what they made of them."""
    with ThreadPoolExecutor(available_cores(), initializer=compute_on, initargs=(1,)) as threads:

        def prepare(data: bytes) -> Prepared:
            return space.prepare(kind, space.decode(kind, data))

        list(threads.map(prepare, contents[: 2 * available_cores()]))
        started = time.perf_counter()
        items = list(threads.map(prepare, contents))
        return len(contents) / (time.perf_counter() - started), items


def _encoded(encoder: Encoder, items: Sequence[Prepared], scene: Scene) -> Mapping[int, float]:
    """Items a second in batches of each size; not of those that memory is too small for."""
    found: dict[int, float] = {}
    for size in scene.sizes.raw_batches:
        batch = [items[i % len(items)] for i in range(size)]
        try:
            found[size] = card.rate(
                scene.device, lambda b=batch: _encode(encoder, b), scene.sizes.raw_seconds
            )
        except torch.OutOfMemoryError:
            break
    return found


def _parts(name: str, encoder: Encoder, items: Sequence[Prepared], scene: Scene) -> Found:
    """Milliseconds of what a batch consists of, each by itself."""
    assert isinstance(encoder, TowerEncoder)
    size = scene.sizes.parts_batch
    batch = [items[i % len(items)] for i in range(size)]
    modality = batch[0].modality

    def join() -> torch.Tensor:
        return encoder.collate(modality, [item.rows for item in batch])

    def pin() -> torch.Tensor:
        return joined.pin_memory() if scene.on_card else joined

    def copy() -> torch.Tensor:
        return pinned.to(scene.device, non_blocking=True)

    with torch.inference_mode():
        joined = join()
        pinned = pin()
        there = copy()
        works = {"joined": join, "pinned": pin, "copied": copy}
        works["through the network"] = lambda: encoder.embed_rows(modality, there)
        taken = card.best_seconds(scene.device, 5, *works.values())
    for what, seconds in zip(works, taken, strict=True):
        yield Row(f"{name}: a batch of {size}, {what}", 1000 * seconds, "ms")


def _encode(encoder: Encoder, batch: Sequence[Prepared]) -> int:
    encoder.encode_prepared(batch)
    return len(batch)


def _by_graph(encoder: Encoder, items: Sequence[Prepared], size: int, scene: Scene) -> Row | Note:
    """Items a second of the network, or why it cannot be captured."""
    modality = items[0].modality
    name = f"{modality}: the network alone by a CUDA graph, batches of {size}"
    if scene.left() <= 0:
        return Note(name, "not measured: the time is over")
    try:
        return Row(name, _replayed(encoder, [items[i % len(items)] for i in range(size)], scene), "items/s")
    except RuntimeError as error:
        return Note(name, str(error).strip().splitlines()[0], failed=True)


def _replayed(encoder: Encoder, batch: Sequence[Prepared], scene: Scene) -> float:
    """Items a second of the network, captured once for a batch that stays on the card."""
    assert isinstance(encoder, TowerEncoder)
    modality = batch[0].modality
    rows = encoder.collate(modality, [item.rows for item in batch]).to(scene.device)
    graph = torch.cuda.CUDAGraph()
    with torch.inference_mode():
        aside = torch.cuda.Stream(scene.device)
        aside.wait_stream(torch.cuda.current_stream(scene.device))
        with torch.cuda.stream(aside):
            for _ in range(3):
                encoder.embed_rows(modality, rows)
        torch.cuda.current_stream(scene.device).wait_stream(aside)
        with torch.cuda.graph(graph):
            kept = encoder.embed_rows(modality, rows)

    def replay() -> int:
        graph.replay()
        return len(batch)

    found = card.rate(scene.device, replay, scene.sizes.raw_seconds)
    del kept
    return found

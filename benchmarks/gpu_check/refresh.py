"""Refresh: native vectors through a connector's head, as a switch of connectors does it, without an index.

The service projects on the CPU, a page of vectors at a time; beside it the same on a card, copies included.
"""

import time

import torch

from benchmarks._rows import Row, at_most
from benchmarks.gpu_check import card
from benchmarks.gpu_check.findings import Note
from benchmarks.gpu_check.products import unit
from benchmarks.gpu_check.steps import Found, Scene, Step
from connectors.connector import Connector, ConnectorManifest
from connectors.projectors import MlpStack

DIM = 512
CPU_BATCHES = (256, 8192)
CARD_BATCH = 65_536
CPU_SECONDS = 8.0
"""Time for which each batch size is tried on the CPU, if all vectors take longer."""
SAME = 1e-3


def steps() -> list[Step]:
    """The one step."""
    return [Step("refresh", refresh, least=30, most=60)]


def refresh(scene: Scene) -> Found:
    """A head of the papers' shape on the CPU, then on the card."""
    torch.manual_seed(0)
    count = scene.sizes.projected
    connector = _connector()
    native = unit(min(count, 4 * CARD_BATCH), DIM, "cpu")
    for batch in CPU_BATCHES:
        done, took = _project(connector, native, "cpu", batch, count, CPU_SECONDS)
        yield Row(
            f"projected on the CPU by {batch:,}, {done:,} of {count:,} vectors", done / took, "points/s"
        )
    if not scene.on_card:
        yield Note(f"projected on a card by {CARD_BATCH:,}", "needs a GPU")
        return
    few = native[:1024]
    expected = connector.project("clap", "audio", few)
    connector.to(scene.device)
    pinned = native.pin_memory()
    with card.tf32(False):
        found = connector.project("clap", "audio", few.to(scene.device)).cpu()
        _project(connector, pinned, scene.device, CARD_BATCH, 4 * CARD_BATCH, CPU_SECONDS)
        done, took = _project(connector, pinned, scene.device, CARD_BATCH, count, scene.left())
    yield Row(
        f"projected on the card by {CARD_BATCH:,}, {done:,} of {count:,} vectors", done / took, "points/s"
    )
    worst = float((found - expected).norm(dim=1).max())
    yield at_most("projected on the card against the CPU", worst, "relative error", SAME)


def _project(
    connector: Connector, native: torch.Tensor, device: str, batch: int, count: int, seconds: float
) -> tuple[int, float]:
    """Project vectors, the same again where there are too few; how many, and the seconds it took."""
    done, at, started = 0, 0, time.perf_counter()
    while done < count and time.perf_counter() - started < seconds:
        part = native[at : at + min(batch, count - done)]
        connector.project("clap", "audio", part.to(device, non_blocking=True)).cpu()
        done += len(part)
        at = at + len(part) if at + len(part) < len(native) else 0
    card.wait(device)
    return done, time.perf_counter() - started


def _connector() -> Connector:
    """Sounds into CLIP's space by Ex-MCR's f_m, with random weights."""
    manifest = ConnectorManifest(
        method="exmcr",
        base="clip",
        dim=DIM,
        heads={"clap/audio": ["sounds"]},
        projectors={"sounds": MlpStack(DIM, 2 * DIM, DIM).spec},
        encoders={},
    )
    return Connector(manifest, {"sounds": MlpStack(DIM, 2 * DIM, DIM)})

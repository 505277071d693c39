"""Encoders of random weights, small enough for tests, served by the real code; as a program, the real server.

They fail on purpose: a text that says `#fail` fails its batch, `#die` kills the encoder's thread, and
`#memory` does not fit beside others. And they wait on purpose, for a `Gate`: an encoder whose gate is closed
embeds nothing, and a batch with `#hold` in it waits for the gate of that name.
"""

import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor, nn

from connectors import registry
from connectors.connector import Connector, ConnectorManifest
from connectors.encoder import Prepared, TowerEncoder
from connectors.modality import Media, Modality
from connectors.projectors import Linear

FAMILY = "tiny"
DIMS = {"clip": 32, "clap": 24, "ulip": 40}
TOWERS: dict[str, tuple[Modality, ...]] = {
    "clip": ("text", "image"),
    "clap": ("audio",),
    "ulip": ("point_cloud",),
}
FEATURES = 192
CONTEXT = 77
"""Words of a text, its start and its end, of which the text tower says that it reads so many."""
FAULTS = {"#fail": 1.0, "#die": 2.0, "#memory": 3.0, "#hold": 4.0}
ROW_SECONDS = float(os.environ.get("TINY_ROW_SECONDS", "0"))
GATES = "TINY_GATES"
"""The variable that names the folder of the gates."""


@dataclass(frozen=True)
class Gate:
    """What an encoder of this or another process waits for: shut as long as its file is there."""

    file: Path

    def shut(self) -> None:
        self.file.touch()

    def open(self) -> None:
        self.file.unlink(missing_ok=True)

    @contextmanager
    def closed(self) -> Iterator[None]:
        """Shut in this block."""
        self.shut()
        try:
            yield
        finally:
            self.open()


def pass_gate(name: str) -> None:
    """Wait until the gate of this name is open."""
    while GATES in os.environ and Path(os.environ[GATES], name).exists():
        time.sleep(0.002)


def compute_slowly(rows: int) -> None:
    """Take as long as a large encoder would."""
    time.sleep(ROW_SECONDS * rows)


class TinyEncoder(TowerEncoder):
    """Features made by hand, then one random linear layer a modality."""

    def __init__(self, space: str) -> None:
        super().__init__()
        self.name = f"{FAMILY}/{space}"
        self.modalities = TOWERS[space]
        self.dim = DIMS[space]
        self.fingerprint = f"sha256:{hashlib.sha256(space.encode()).hexdigest()}"
        generator = torch.Generator().manual_seed(len(space) + self.dim)
        self.towers = nn.ModuleDict()
        for modality in self.modalities:
            tower = nn.Linear(FEATURES, self.dim, bias=False)
            with torch.no_grad():
                tower.weight.copy_(torch.randn(tower.weight.shape, generator=generator))
            self.towers[modality] = tower
        self.eval()

    def prepare(self, media: Media, modality: Modality | None = None) -> Prepared:
        tower = self.resolve(modality)
        features, length = _features(media)
        rows = torch.from_numpy(features)[None]
        if not isinstance(media, str):
            return Prepared(tower, rows, length)
        understood = any(letter.isascii() and letter.isalnum() for letter in media)
        given = length if length > CONTEXT else None
        return Prepared(tower, rows, min(length, CONTEXT), given, understood)

    def embed_rows(self, modality: Modality, rows: Tensor) -> Tensor:
        faults = rows[:, -1].tolist()
        pass_gate(self.name.removeprefix(f"{FAMILY}/"))
        if FAULTS["#hold"] in faults:
            pass_gate("hold")
        if FAULTS["#fail"] in faults:
            raise ValueError("this encoder fails on purpose")
        if FAULTS["#die"] in faults:
            raise SystemExit
        if FAULTS["#memory"] in faults and len(rows) > 1:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        compute_slowly(len(rows))
        out: Tensor = self.towers[modality](rows[:, :FEATURES])
        return out


def _features(media: Media) -> tuple[np.ndarray, int]:
    """Features of any decoded media, and a last number that is a fault or 0."""
    fault = 0.0
    length = FEATURES
    if isinstance(media, str):
        values = np.zeros(FEATURES)
        for i, byte in enumerate(media.encode()):
            values[(byte * 7 + i) % FEATURES] += 1
        fault = next((code for mark, code in FAULTS.items() if mark in media), 0.0)
        length = len(media.split()) + 2
    elif isinstance(media, Image):
        values = np.asarray(media.resize((8, 8)), dtype=np.float64).ravel() / 255
    elif media.ndim == 1:
        values = np.abs(np.fft.rfft(media, n=2 * FEATURES))[:FEATURES]
    else:
        values = np.resize(np.quantile(media, np.linspace(0, 1, FEATURES // 3), axis=0), FEATURES)
    return np.append(values, fault).astype(np.float32), length


def load(model: str, weights: object = None, **options: object) -> TinyEncoder:
    """What the registry calls."""
    return TinyEncoder(model)


def write_connector(directory: Path, leaf: str, seed: int, encoders: dict[str, str] | None = None) -> Path:
    """A connector of one leaf with a random linear head, other weights for every seed."""
    torch.manual_seed(seed)
    head = Linear(DIMS[leaf], DIMS["clip"])
    nn.init.normal_(head.weight)
    manifest = ConnectorManifest(
        method="exmcr",
        base="clip",
        dim=DIMS["clip"],
        heads={"clip/text": [], "clip/image": [], f"{leaf}/{TOWERS[leaf][0]}": ["head"]},
        projectors={"head": head.spec},
        encoders=encoders or {},
    )
    return Connector(manifest, {"head": head}).save(directory)


def write_bundle(directory: Path, seed: int = 0) -> Path:
    """A bundle of these encoders: a base space and two leaves with a linear head each."""
    directory.mkdir(parents=True, exist_ok=True)
    for leaf in ("clap", "ulip"):
        write_connector(directory / f"exmcr-{leaf}", leaf, DIMS[leaf] + seed)
    encoders = "\n".join(f'[encoders.{space}]\nname = "{FAMILY}/{space}"' for space in DIMS)
    serve = "\n".join(f'{modality} = "{space}"' for space, towers in TOWERS.items() for modality in towers)
    (directory / "bundle.toml").write_text(
        f'format = "isthmus.bundle/1"\nname = "tiny"\ndefault = "exmcr"\n'
        f'[serve]\n{serve}\n{encoders}\n[connectors]\nexmcr = ["exmcr-clap", "exmcr-ulip"]\n'
    )
    return directory


registry.FAMILIES = {**registry.FAMILIES, FAMILY: "tiny_encoders"}


def optimise_eagerly() -> None:
    """Let this process's index optimise all the time, with graphs of a few points."""
    from functools import partial

    from service.index import opening
    from service.index.edge.optimizer import OptimizerSettings
    from service.index.edge.shard_process import GraphSettings

    opening.EdgeBackend = partial(
        opening.EdgeBackend,
        optimizer=OptimizerSettings(after=40, idle_seconds=0.0, tick_seconds=0.05, fraction=0.0),
        graph=GraphSettings(m=8, ef_construct=64, threads=1, scan_below_kb=20),
    )


if __name__ == "__main__":
    from service.cli import main

    if "TINY_OPTIMISE" in os.environ:
        optimise_eagerly()
    main()

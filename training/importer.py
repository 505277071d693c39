"""The projectors published by the authors of C-MCR and Ex-MCR, as connectors of ours.

Given `ex_clap.pt`, `ex_ulip.pt`, `clap_clip.pt` or `ulip_clip.pt` (torch state dicts, read with
`weights_only=True`), gives the same maps as a `Connector`. Sources: the
inference code of github.com/MCR-PEFT/C-MCR (`cmcr_model.py`, `cmcr_projector.py`) and
github.com/MCR-PEFT/Ex-MCR (`exmcr_model.py`, `exmcr_projector.py`).
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from connectors.checkpoint import fit, part, read_tensors
from connectors.connector import Connector, ConnectorManifest
from connectors.errors import ConfigError, MissingFiles
from connectors.projectors import Linear, LinearNormRelu, MlpBlock, MlpStack, Projector

DIM, HIDDEN = 512, 1024
"""Sizes of all four: CLIP ViT-B/32, CLAP and ULIP-2 embed in 512 dimensions."""

PAPERS = {"exmcr": "arXiv 2310.08884", "cmcr": "arXiv 2305.14381"}


@dataclass(frozen=True, slots=True)
class AuthorsCheckpoint:
    """One published file: what its parts are called in it, what they are, and what goes through them.

    `prefixes`: part of the connector -> prefix of its keys; `heads`: 'space/modality' -> parts.
    """

    method: str
    base: str | None
    prefixes: Mapping[str, str]
    heads: Mapping[str, list[str]]


CLIP_UNTOUCHED: dict[str, list[str]] = {"clip/text": [], "clip/image": []}

AUTHORS_CHECKPOINTS: Mapping[str, AuthorsCheckpoint] = {
    "ex_clap": AuthorsCheckpoint(
        "exmcr",
        "clip",
        {"f_l": "Head1.", "f_m": "Head2."},
        {"clap/audio": ["f_l", "f_m"], "clap/text": ["f_m"], **CLIP_UNTOUCHED},
    ),
    "ex_ulip": AuthorsCheckpoint(
        "exmcr",
        "clip",
        {"f_l": "Head1.", "f_m": "Head2."},
        {"ulip/point_cloud": ["f_l", "f_m"], "ulip/image": ["f_m"], **CLIP_UNTOUCHED},
    ),
    "clap_clip": AuthorsCheckpoint(
        "cmcr",
        None,
        {"clap": "Head_A.", "clip": "Head_B."},
        {"clap/audio": ["clap"], "clap/text": ["clap"], "clip/text": ["clip"], "clip/image": ["clip"]},
    ),
    # The sides of this one are the other way round.
    "ulip_clip": AuthorsCheckpoint(
        "cmcr",
        None,
        {"clip": "Head_A.", "ulip": "Head_B."},
        {
            "ulip/point_cloud": ["ulip"],
            "ulip/image": ["ulip"],
            "ulip/text": ["ulip"],
            "clip/text": ["clip"],
            "clip/image": ["clip"],
        },
    ),
}


def import_authors_checkpoint(path: Path, kind: str | None = None) -> Connector:
    """Read one of the authors' files as a connector; `kind` names it where its file name does not.

    Raises `MissingFiles`, `CheckpointError` for a file that does not hold what its kind should, and
    `ConfigError` where it cannot be told which file this is.
    """
    if not path.is_file():
        raise MissingFiles(f"{path} does not exist")
    tensors = read_tensors(path)
    kind = kind or recognise(tensors, path.stem)
    if kind not in AUTHORS_CHECKPOINTS:
        raise ConfigError(f"unknown kind {kind!r}: it is one of {', '.join(AUTHORS_CHECKPOINTS)}")
    checkpoint = AUTHORS_CHECKPOINTS[kind]
    projectors = {name: _untrained(kind, name) for name in checkpoint.prefixes}
    fit(
        torch.nn.ModuleDict(projectors),
        _renamed(tensors, checkpoint.prefixes),
        path=path,
        what=f"the authors' {kind}.pt",
    )
    manifest = ConnectorManifest(
        method=checkpoint.method,
        base=checkpoint.base,
        dim=DIM,
        heads=dict(checkpoint.heads),
        projectors={name: projector.spec for name, projector in projectors.items()},
        encoders={},  # the files do not say which weights they were trained on
        recipe={
            "imported": path.name,
            "kind": kind,
            "source": PAPERS[checkpoint.method],
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        },
    )
    return Connector(manifest, projectors)


def recognise(tensors: Mapping[str, Tensor], stem: str) -> str:
    """Tell which checkpoint a state dict is; the two of Ex-MCR look alike and go by their file's name."""
    if "Head_A.net1.0.weight" in tensors:
        return "clap_clip"
    if "Head_A.net.0.weight" in tensors:
        return "ulip_clip"
    if "Head1.weight" not in tensors:
        shown = ", ".join(list(tensors)[:3])
        raise ConfigError(
            f"not one of the authors' files ({', '.join(AUTHORS_CHECKPOINTS)}): it holds {shown}, ..."
        )
    named = [leaf for leaf in ("clap", "ulip") if leaf in stem.lower()]
    if len(named) != 1:
        raise ConfigError(
            "ex_clap.pt and ex_ulip.pt hold the same keys and this file's name tells neither: "
            "add --kind ex_clap or --kind ex_ulip"
        )
    return f"ex_{named[0]}"


def _untrained(kind: str, name: str) -> Projector:
    """The part as the authors' code builds it."""
    if kind.startswith("ex_"):
        return Linear(DIM, DIM) if name == "f_l" else MlpStack(DIM, HIDDEN, DIM, blocks=2)
    return MlpBlock(DIM, HIDDEN, DIM) if kind == "clap_clip" else LinearNormRelu(DIM, DIM)


def _renamed(tensors: Mapping[str, Tensor], prefixes: Mapping[str, str]) -> dict[str, Tensor]:
    """The file's tensors under our parts' names; what has no part keeps its own, for `fit` to report."""
    renamed = {
        f"{name}.{key}": value
        for name, prefix in prefixes.items()
        for key, value in part(tensors, prefix).items()
    }
    strange = {k: v for k, v in tensors.items() if not k.startswith(tuple(prefixes.values()))}
    return {**renamed, **strange}

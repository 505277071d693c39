"""Reading other people's checkpoints without trusting them.

Given a `.pt`, `.bin` or `.safetensors` file, gives back its tensors, memory-mapped and without
running any code in it; given those and a module, puts them in place and says exactly what does
not fit. Weights are mapped, not copied: a tower nobody asked for costs no memory.
"""

import argparse
import hashlib
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from connectors.errors import CheckpointError, IntegrityError

_DATA_ONLY_GLOBALS: list[Any] = [
    # Published checkpoints carry their training arguments and a score beside the weights. These
    # types hold data and run nothing when they are rebuilt.
    argparse.Namespace,
    np.core.multiarray.scalar,  # type: ignore[attr-defined]
    np.dtype,
    *(type(np.dtype(kind)) for kind in ("float32", "float64", "int32", "int64", "bool")),
]
_SHOWN = 5
"""Keys named in a message before it says how many more there are."""


def file_sha256(path: Path) -> str:
    """sha256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify_sha256(path: Path, expected: str) -> None:
    """Raise `IntegrityError` unless the file's sha256 is `expected` (a `sha256:` prefix is fine)."""
    found = file_sha256(path)
    if found != expected.removeprefix("sha256:").lower():
        raise IntegrityError(
            f"{path} is not the file it should be: its sha256 is {found}, expected {expected}. "
            "Download it again, or rebuild the bundle if the new file is meant."
        )


def read_tensors(path: Path, sha256: str | None = None) -> dict[str, Tensor]:
    """The tensors of a checkpoint by key, on the CPU, mapped from the file where it allows that.

    A `state_dict` inside the checkpoint is opened, and `module.`, which DistributedDataParallel
    puts before every key, is taken off. Pickles are read by `torch.load(weights_only=True)` only.

    Raises `IntegrityError` if the bytes are not those of `sha256`, and `CheckpointError` if the
    file holds code, is damaged, or holds no tensors.
    """
    if sha256 is not None:
        verify_sha256(path, sha256)
    content = _safetensors(path) if path.suffix == ".safetensors" else _pickled(path)
    for key in ("state_dict", "model_state_dict"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, not a state dict")
    tensors = {str(k): v for k, v in content.items() if isinstance(v, Tensor)}
    if not tensors:
        raise CheckpointError(f"{path} holds no tensors")
    if all(key.startswith("module.") for key in tensors):
        tensors = {key.removeprefix("module."): value for key, value in tensors.items()}
    return tensors


def _safetensors(path: Path) -> object:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is not a readable safetensors file: {error}") from error


def _pickled(path: Path) -> object:
    zipped = zipfile.is_zipfile(path)
    if zipped and _is_torchscript(path):
        raise CheckpointError(
            f"{path} is a TorchScript program, not a state dict, and programs are not run. For "
            "OpenAI's CLIP take open_clip_model.safetensors of the same model from the hub "
            "(timm/vit_base_patch32_clip_224.openai for ViT-B/32)."
        )
    if not zipped and path.is_file():
        with path.open("rb") as file:
            start = file.read(16)
        if not start.startswith((pickle.PROTO, b"PK")):  # a cut-off archive is torch's to describe
            raise CheckpointError(
                f"{path} is no torch checkpoint: it begins with {start!r}, as no zip archive or pickle does"
            )
    try:
        with torch.serialization.safe_globals(_DATA_ONLY_GLOBALS):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except pickle.UnpicklingError as error:
        lines = [line for line in str(error).splitlines() if "GLOBAL" in line or "nsupported" in line]
        reason = (lines or ["a type torch does not know as data"])[-1].strip()
        raise CheckpointError(
            f"{path} is refused: it holds more than tensors and would run code ({reason})"
        ) from error
    except (RuntimeError, EOFError, ValueError, OSError, KeyError, IndexError) as error:
        raise CheckpointError(f"{path} is not a readable torch checkpoint: {error}") from error


def _is_torchscript(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except zipfile.BadZipFile:
        return False


def fit(module: nn.Module, tensors: Mapping[str, Tensor], *, path: Path, what: str) -> None:
    """Put `tensors` into `module` in place of its own parameters and buffers, without copying.

    Every key must be there and of the right shape, and none may be left over; whoever wants a
    part of a checkpoint selects it first. Weights stored in half precision become float32.
    `what` names the architecture in the message. Raises `CheckpointError`.
    """
    wanted = module.state_dict()
    faults = _list("missing", [key for key in wanted if key not in tensors])
    faults += _list("unexpected", [key for key in tensors if key not in wanted])
    faults += _list(
        "of another shape",
        [
            f"{key} {list(tensors[key].shape)} instead of {list(value.shape)}"
            for key, value in wanted.items()
            if key in tensors and tensors[key].shape != value.shape
        ],
    )
    if faults:
        raise CheckpointError(f"{path} does not fit {what}: {'; '.join(faults)}")
    cast = {key: tensors[key].to(value.dtype) for key, value in wanted.items()}
    module.load_state_dict(cast, assign=True)


def _list(fault: str, keys: list[str]) -> list[str]:
    if not keys:
        return []
    more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
    return [f"{len(keys)} {fault} ({', '.join(keys[:_SHOWN])}{more})"]


def part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors below `prefix`, named without it."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def fingerprint(tensors: Mapping[str, Tensor], *facts: str) -> str:
    """`sha256:<hex>` of named tensors as float32, and of `facts` that also decide the vectors.

    The same weights give the same fingerprint from any file format and in any stored precision.
    """
    digest = hashlib.sha256("\n".join(facts).encode())
    for key in sorted(tensors):
        value = tensors[key]
        if value.is_floating_point():
            value = value.float()
        digest.update(f"\n{key} {list(value.shape)}\n".encode())
        digest.update(value.contiguous().numpy().data)
    return f"sha256:{digest.hexdigest()}"

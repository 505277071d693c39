"""A run's checkpoint: everything needed to go on after a kill, in one safetensors file, no pickle.

Given a model, its optimizer and a step, writes them whole or not at all; given the file, puts them
back. A checkpoint knows the fingerprint of the job it belongs to and refuses any other.
"""

import json
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from connectors.errors import ConfigError, IntegrityError


def save_checkpoint(
    path: Path,
    *,
    fingerprint: str,
    step: int,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    extra: dict[str, Tensor],
) -> None:
    """Write a checkpoint taken after `step` steps, replacing a former one in a single move.

    `extra` holds further tensors by name (averaged weights, loss history).
    """
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value for name, value in state.items()}
    tensors |= {f"extra.{name}": value for name, value in extra.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = path.with_suffix(".writing")
    save_file(
        {name: value.detach().cpu().contiguous() for name, value in tensors.items()},
        staging,
        metadata={"fingerprint": fingerprint, "step": json.dumps(step)},
    )
    staging.replace(path)


def load_checkpoint(
    path: Path, *, fingerprint: str, model: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[int, dict[str, Tensor]]:
    """Restore model and optimizer in place; gives the step and the extra tensors.

    Raises `ConfigError` where the checkpoint is another job's, `IntegrityError` where it is damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except Exception as error:  # safetensors raises its own untyped error
        raise IntegrityError(f"{path} cannot be read ({error}); delete it to start anew") from error
    if metadata.get("fingerprint") != fingerprint:
        raise ConfigError(
            f"{path} was left by a run of another recipe or other features; "
            "choose another --output, or delete it to start anew"
        )
    model.load_state_dict(_under(tensors, "model."))
    saved = optimizer.state_dict()
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in _under(tensors, "optimizer.").items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({**saved, "state": state})
    return int(metadata["step"]), _under(tensors, "extra.")


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

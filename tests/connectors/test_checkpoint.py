"""Checkpoints of others are read as data: nothing in them runs, and what does not fit is named."""

import argparse
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from connectors.checkpoint import file_sha256, fingerprint, fit, read_tensors
from connectors.errors import CheckpointError, IntegrityError

WEIGHTS = {"a.weight": torch.arange(6.0).view(2, 3), "a.bias": torch.ones(2)}


class Touch:
    """A pickle that creates a file where it is loaded without care."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def same(found, wanted=WEIGHTS):
    return found.keys() == wanted.keys() and all(torch.equal(found[k], wanted[k]) for k in wanted)


@pytest.mark.parametrize(
    "content",
    [
        WEIGHTS,
        {"state_dict": WEIGHTS, "epoch": 3},
        {"state_dict": {f"module.{k}": v for k, v in WEIGHTS.items()}},
        {"state_dict": WEIGHTS, "args": argparse.Namespace(lr=0.1), "best": np.float64(0.5)},
    ],
    ids=["bare", "nested", "distributed", "with arguments and a numpy score"],
)
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_every_published_layout_gives_the_same_tensors(tmp_path, content, zipped):
    torch.save(content, tmp_path / "c.pt", _use_new_zipfile_serialization=zipped)
    assert same(read_tensors(tmp_path / "c.pt"))


def test_safetensors_are_read(tmp_path):
    save_file(WEIGHTS, tmp_path / "c.safetensors")
    assert same(read_tensors(tmp_path / "c.safetensors"))


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_pickle_with_code_is_refused_and_does_not_run(tmp_path, zipped):
    content = {"state_dict": WEIGHTS, "extra": Touch(tmp_path / "ran")}
    torch.save(content, tmp_path / "evil.pt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=r"would run code .*system"):
        read_tensors(tmp_path / "evil.pt")
    assert not (tmp_path / "ran").exists()


def test_a_plain_pickle_with_code_is_refused_and_does_not_run(tmp_path):
    (tmp_path / "evil.pt").write_bytes(pickle.dumps(Touch(tmp_path / "ran"), protocol=2))
    with pytest.raises(CheckpointError):
        read_tensors(tmp_path / "evil.pt")
    assert not (tmp_path / "ran").exists()


def test_a_torchscript_program_is_refused(tmp_path):
    module = nn.Linear(2, 2)
    with pytest.warns(DeprecationWarning):
        torch.jit.trace(module, torch.zeros(1, 2)).save(tmp_path / "ViT-B-32.pt")
    with pytest.raises(CheckpointError, match="TorchScript"):
        read_tensors(tmp_path / "ViT-B-32.pt")


@pytest.mark.parametrize("name", ["c.pt", "c.safetensors"])
def test_a_truncated_file_is_refused(tmp_path, name):
    path = tmp_path / name
    save_file(WEIGHTS, path) if name.endswith("safetensors") else torch.save(WEIGHTS, path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(CheckpointError, match=r"readable|refused"):
        read_tensors(path)


def test_a_file_of_another_kind_is_refused_by_what_it_begins_with(tmp_path):
    path = tmp_path / "ex_clap.pt"
    path.write_text("hello world")
    with pytest.raises(CheckpointError, match="begins with b'hello world'"):
        read_tensors(path)


@pytest.mark.parametrize("content", [[1, 2], {}, {"epoch": 3}], ids=["a list", "empty", "no tensors"])
def test_a_file_without_tensors_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "c.pt")
    with pytest.raises(CheckpointError, match=r"state dict|no tensors"):
        read_tensors(tmp_path / "c.pt")


def test_other_bytes_than_the_recorded_ones_are_refused(tmp_path):
    path = tmp_path / "c.pt"
    torch.save(WEIGHTS, path)
    assert same(read_tensors(path, f"sha256:{file_sha256(path)}"))
    with pytest.raises(IntegrityError, match="expected 00"):
        read_tensors(path, "00")


def test_what_does_not_fit_is_named():
    module = nn.ModuleDict({"a": nn.Linear(4, 2), "b": nn.Linear(2, 2, bias=False)})
    with pytest.raises(CheckpointError) as error:
        fit(module, {**WEIGHTS, "c": torch.ones(1)}, path=Path("x.pt"), what="a pair of layers")
    message = str(error.value)
    assert "x.pt does not fit a pair of layers" in message
    assert "1 missing (b.weight)" in message
    assert "1 unexpected (c)" in message
    assert "a.weight [2, 3] instead of [2, 4]" in message


def test_weights_are_put_in_place_without_a_copy():
    module = nn.ModuleDict({"a": nn.Linear(3, 2)})
    fit(module, WEIGHTS, path=Path("x.pt"), what="a layer")
    assert module["a"].weight.data_ptr() == WEIGHTS["a.weight"].data_ptr()


def test_a_fingerprint_is_of_the_values_not_of_the_file():
    half = {key: value.half() for key, value in reversed(WEIGHTS.items())}
    assert fingerprint(half, "x") == fingerprint(WEIGHTS, "x")
    assert fingerprint(WEIGHTS, "y") != fingerprint(WEIGHTS, "x")
    other = {**WEIGHTS, "a.bias": torch.tensor([1.0, 1.5])}
    assert fingerprint(other, "x") != fingerprint(WEIGHTS, "x")

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

from connectors.errors import ConfigError, IntegrityError
from training.exmcr import ExMCR
from training.parallel import Group
from training.pseudo_pairs import PseudoPairs
from training.recipe import load_recipe
from training.trainer import RealPairs, Trainer, schedule


@pytest.fixture(autouse=True)
def one_thread():
    """As the scripts have: a bias before BatchNorm has no gradient but rounding, which depends on the order
    of sums and which Adam scales up to full steps."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def unit(rows, dim, seed):
    return F.normalize(torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed)), dim=1)


PAIRS = PseudoPairs(unit(200, 12, 0), unit(200, 12, 1), unit(200, 8, 2), unit(200, 8, 3))


def trained(pairs=PAIRS, checkpoint=None, on_step=None, real=None, loss=None, layers=1, **optim):
    """A small Ex-MCR after training, and its history. The scripts below import this file for it."""
    values = {"epochs": 3, "batch_size": 64, "checkpoint_steps": 1, "lr": 1e-2, **optim}
    recipe = load_recipe(
        "exmcr-paper",
        {"optim": values, "loss": loss or {}, "projector": {"hidden": 16, "layers": layers}},
    )
    torch.manual_seed(0)
    model = ExMCR(12, 8, recipe.projector, recipe.loss)
    with Group() as group:
        history = Trainer(
            model,
            pairs,
            recipe.optim,
            group=group,
            real=real,
            checkpoint=checkpoint,
            fingerprint="a job",
            on_step=on_step,
        ).run()
    return model, history


def largest_difference(model, other):
    mine, theirs = model.state_dict(), other.state_dict()
    return max((mine[name].float() - theirs[name].float()).abs().max().item() for name in mine)


def script(body, **environment):
    return subprocess.Popen(
        [sys.executable, "-c", body],
        cwd=Path(__file__).parent,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )


def test_the_loss_falls():
    _, history = trained(epochs=10)

    assert len(history) == 30
    assert history[-1]["loss"] < 0.95 * history[0]["loss"]
    assert set(history[0]) == {"loss", "inter", "intra"}


def test_a_run_killed_and_resumed_ends_with_the_same_weights(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    body = (
        "import os, signal, sys, pathlib; sys.path.insert(0, '.'); from test_trainer import trained\n"
        "def die(progress):\n"
        "    if progress.step == 5: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"trained(checkpoint=pathlib.Path({str(path)!r}), on_step=die, ema=0.9)\n"
    )

    assert script(body).wait(timeout=120) == -signal.SIGKILL
    steps = []
    resumed, history = trained(checkpoint=path, on_step=lambda p: steps.append(p.step), ema=0.9)
    whole, expected = trained(ema=0.9)

    assert steps[0] == 5
    assert largest_difference(resumed, whole) < 1e-6
    assert [h["loss"] for h in history] == pytest.approx([h["loss"] for h in expected], abs=1e-6)


def test_a_checkpoint_of_another_job_is_refused(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    trained(checkpoint=path, epochs=1)
    recipe = load_recipe("exmcr-paper", {"projector": {"hidden": 16, "layers": 1}})
    model = ExMCR(12, 8, recipe.projector, recipe.loss)

    with pytest.raises(ConfigError, match="another recipe or other features"):
        Trainer(
            model,
            PAIRS,
            recipe.optim,
            group=Group(),
            checkpoint=path,
            fingerprint="another job",
        ).run()


def test_a_damaged_checkpoint_says_to_delete_it(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    trained(checkpoint=path, epochs=1)
    path.write_bytes(path.read_bytes()[:500])

    with pytest.raises(IntegrityError, match="delete it"):
        trained(checkpoint=path, epochs=1)


def test_two_processes_take_the_step_of_one(tmp_path):
    """Negatives are gathered and gradients averaged: without either the weights would differ."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    options = "loss={'noise_variance': 0.0}, layers=0"
    processes = []
    for rank in "01":
        body = (
            "import sys; sys.path.insert(0, '.'); from test_trainer import trained\n"
            "from safetensors.torch import save_file\n"
            f"save_file(trained({options})[0].state_dict(), {str(tmp_path / rank)!r})\n"
        )
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        processes.append(script(body, RANK=rank, WORLD_SIZE="2", LOCAL_RANK=rank, **address))

    assert [process.wait(timeout=200) for process in processes] == [0, 0]
    one, _ = trained(loss={"noise_variance": 0.0}, layers=0)
    for rank in "01":
        weights = load_file(tmp_path / rank)
        for name, value in one.state_dict().items():
            torch.testing.assert_close(weights[name], value, atol=1e-5, rtol=0)


def test_real_pairs_are_mixed_in():
    real = RealPairs(unit(50, 12, 8), unit(50, 8, 9), weight=1.0)
    _, history = trained(real=real, epochs=20)

    assert history[-1]["real"] < 0.8 * history[0]["real"]
    without = history[0]["inter"] + 0.1 * history[0]["intra"]
    assert history[0]["loss"] == pytest.approx(without + history[0]["real"], rel=1e-5)


def test_averaged_weights_lag_behind_the_last_ones():
    last, _ = trained()
    averaged, _ = trained(ema=0.999)

    assert largest_difference(averaged, last) > 1e-4


def test_mixed_precision_trains_to_nearly_the_same_loss():
    _, exact = trained()
    _, mixed = trained(precision="bfloat16")

    assert mixed[-1]["loss"] == pytest.approx(exact[-1]["loss"], rel=0.02)
    assert mixed[-1]["loss"] != exact[-1]["loss"]


def test_gradients_are_clipped():
    free, _ = trained(epochs=1)
    clipped, _ = trained(epochs=1, clip=1e-12)
    start, _ = trained(epochs=1, lr=1e-12)

    assert largest_difference(clipped, start) < largest_difference(free, start)


def test_a_batch_too_small_to_contrast_is_refused():
    one = PAIRS.rows(torch.tensor([0]))

    with pytest.raises(ConfigError, match="two or more"):
        trained(pairs=one)


def test_the_rate_rises_then_falls_to_nothing():
    rates = [schedule(step, 100, 0.1) for step in range(100)]

    assert rates[0] < rates[5] < rates[10] == 1.0
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 0.01

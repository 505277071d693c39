"""Two processes take the training steps of one, over gloo on one device; NCCL does the same work alone.

python -m benchmarks.gpu_check.ranks BACKEND DEVICE FILE is one of them: it leaves its weights in FILE. NCCL
takes one process a card, so with one card its collectives are tried in a group of one.
"""

import os
import socket
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, distributed, nn

from benchmarks._rows import at_most
from benchmarks.gpu_check.findings import Note, largest
from benchmarks.gpu_check.products import unit
from benchmarks.gpu_check.steps import Found, Scene, Step
from training.exmcr import ExMCR
from training.parallel import Group, gather
from training.pseudo_pairs import PseudoPairs
from training.recipe import load_recipe
from training.trainer import Trainer

ROOT = Path(__file__).resolve().parents[2]
DIM, ROWS, STEPS = 32, 64, 8
SECONDS = 120
AGREE = 1e-4


def steps() -> list[Step]:
    """Two processes over gloo, one over NCCL."""
    return [
        Step("two ranks over gloo", two_over_gloo, least=25, most=60),
        Step("one rank over NCCL", one_over_nccl, least=20, most=60, needs_gpu=True),
    ]


def two_over_gloo(scene: Scene) -> Found:
    """The weights of two processes against those of this one."""
    torch.manual_seed(0)
    alone = _trained(scene.device)
    for rank, weights in enumerate(_weights_of("gloo", scene.device, 2)):
        worst = largest(float((weights[name] - alone[name]).abs().max()) for name in alone)
        yield at_most(
            f"two ranks over gloo, {STEPS} steps: rank {rank} against one", worst, "of a weight", AGREE
        )


def one_over_nccl(scene: Scene) -> Found:
    """A group of one: gathering, its gradient, averages and the barrier give back what went in."""
    (found,) = _weights_of("nccl", scene.device, 1)
    worst = largest(float(each.abs().max()) for each in found.values())
    yield at_most("one rank over NCCL: collectives against none", worst, "of a value", 0.0)
    yield Note("several ranks over NCCL", "needs several GPUs")


def _weights_of(backend: str, device: str, count: int) -> list[dict[str, Tensor]]:
    """Return the weights that the processes leave. Raises `RuntimeError` with the words of one that fails."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    where = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(count), "LOCAL_RANK": "0"}
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / str(rank) for rank in range(count)]
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", "benchmarks.gpu_check.ranks", backend, device, str(file)],
                env={**os.environ, **shared, "RANK": str(rank), "PYTHONPATH": where},
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank, file in enumerate(files)
        ]
        try:
            said = [process.communicate(timeout=SECONDS)[1] for process in processes]
        finally:
            for process in processes:
                process.kill()
        if any(process.returncode for process in processes):
            raise RuntimeError("; ".join((text.strip() or "nothing said").splitlines()[-1] for text in said))
        return [load_file(file) for file in files]


def _trained(device: str) -> dict[str, Tensor]:
    """Weights after some steps, of a model whose step does not depend on the number of processes."""
    recipe = load_recipe(
        "exmcr-paper",
        {
            "projector": {"layers": 0, "hidden": DIM},  # BatchNorm's statistics are each process's own
            "loss": {"noise_variance": 0.0},
            "optim": {"batch_size": ROWS, "epochs": STEPS},
        },
    )
    torch.manual_seed(0)
    pairs = PseudoPairs(*(unit(ROWS, DIM, "cpu") for _ in range(4)))
    model = ExMCR(DIM, DIM, recipe.projector, recipe.loss).to(device)
    Trainer(model, pairs, recipe.optim, group=Group()).run()
    return {name: value.cpu() for name, value in model.state_dict().items()}


def _collectives(device: str) -> dict[str, Tensor]:
    """By how much what comes back from a group of one differs from what went in."""
    group = Group()
    group.wait()
    distributed.barrier()
    x = unit(ROWS, DIM, device).requires_grad_()
    together = gather(x)
    together.square().sum().backward()
    assert x.grad is not None
    layer = nn.Linear(DIM, DIM, device=device)
    layer(x.detach()).square().sum().backward()
    assert layer.weight.grad is not None
    before = layer.weight.grad.clone()
    distributed.all_reduce(layer.weight.grad)
    return {
        "gathered": (together - x).detach().cpu(),
        "gradient": (x.grad - 2 * x).detach().cpu(),
        "average": (layer.weight.grad - before).cpu(),
    }


def main(backend: str, device: str, file: str) -> None:
    """Be one of the processes."""
    if device.startswith("cuda"):
        torch.cuda.set_device(device)
    distributed.init_process_group(backend)
    work = partial(_collectives if backend == "nccl" else _trained, device)
    save_file(work(), file)
    distributed.barrier()
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])

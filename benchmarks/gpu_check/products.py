"""The matrix products that a piece of training cannot do without, by cuBLAS and nothing else."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from training.recipe import Recipe

KEYS = 65_536
"""Keys in one product of an aggregation: enough to keep a card busy, and its logits fit."""


def unit(rows: int, dim: int, device: str, dtype: torch.dtype = torch.float32) -> Tensor:
    """Random unit vectors [rows, dim], made a part at a time."""
    made = torch.empty(rows, dim, device=device, dtype=dtype)
    for part in made.split(262_144):
        part.copy_(F.normalize(torch.randn(len(part), dim, device=device), dim=1))
    return made


def of_aggregation(queries: Tensor, keys: Tensor) -> Callable[[], None]:
    """Logits and what is read with them: two products, in the number format of the vectors."""
    logits = torch.empty(len(queries), min(KEYS, len(keys)), device=queries.device, dtype=queries.dtype)
    read = torch.empty_like(queries)

    def run() -> None:
        for block in keys.split(KEYS):
            found = logits[:, : len(block)]
            torch.mm(queries, block.T, out=found)
            torch.mm(found, block, out=read)

    return run


def of_exmcr_step(recipe: Recipe, rows: int, dim: int, device: str) -> Callable[[], None]:
    """f_l on a batch, f_m on twice that, and every contrast's logits with the gradient of one side."""
    projected = torch.bfloat16 if recipe.optim.precision == "bfloat16" else torch.float32
    x = unit(rows, dim, device, projected)
    head = _mlp(2 * rows, dim, recipe.projector.hidden, device, projected)
    contrast = _contrast(rows, dim, device, sides=1)
    square = torch.randn(dim, dim, device=device, dtype=projected)

    def run() -> None:
        torch.mm(x, square)
        torch.mm(x.T, x)
        for _ in range(recipe.projector.layers):
            head(True)  # towards f_l
        for _ in recipe.loss.contrasts:
            contrast()

    return run


def of_cmcr_step(recipe: Recipe, rows: int, dim: int, device: str) -> Callable[[], None]:
    """Two heads on two modalities each, whose inputs need no gradient, and two contrasts of both sides."""
    projected = torch.bfloat16 if recipe.optim.precision == "bfloat16" else torch.float32
    head = _mlp(2 * rows, dim, recipe.projector.hidden, device, projected)
    contrast = _contrast(rows, dim, device, sides=2)

    def run() -> None:
        for _ in range(2):
            head(False)
            contrast()

    return run


def _mlp(rows: int, dim: int, hidden: int, device: str, dtype: torch.dtype) -> Callable[[bool], None]:
    """One block of two layers, forward and backward; whether its input needs a gradient."""
    x, h = unit(rows, dim, device, dtype), unit(rows, hidden, device, dtype)
    up = torch.randn(dim, hidden, device=device, dtype=dtype)
    down = torch.randn(hidden, dim, device=device, dtype=dtype)

    def run(towards_input: bool) -> None:
        torch.mm(x, up)
        torch.mm(h, down)
        torch.mm(h.T, x)
        torch.mm(x, down.T)
        torch.mm(x.T, h)
        if towards_input:
            torch.mm(h, up.T)

    return run


def _contrast(rows: int, dim: int, device: str, *, sides: int) -> Callable[[], None]:
    """Logits of a batch with itself, and the gradient of one side or both; float32 always."""
    x = unit(rows, dim, device)
    logits = torch.empty(rows, rows, device=device)

    def run() -> None:
        torch.mm(x, x.T, out=logits)
        for _ in range(sides):
            torch.mm(logits, x)

    return run

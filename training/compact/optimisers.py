"""The optimiser of a convolutional trunk, Muon for its convolutions and AdamW for the rest; the rates of all.

Muon orthogonalises the momentum of every weight matrix before the step (Jordan et al. 2024, "Muon: an
optimizer for hidden layers in neural networks"). On the picture pool it reached in 9,000 views what AdamW
took 38,000 for. torch's Muon takes matrices only; here a convolution's kernel is seen as one.
"""

import math
from collections.abc import Sequence

from torch import Tensor, nn
from torch.optim import AdamW, Muon, Optimizer


def warm_cosine(step: int, steps: int, warm_up: int) -> float:
    """Share of the highest learning rate at a step: a line up for `warm_up` steps, then a cosine to 0."""
    return min((step + 1) / warm_up, 0.5 * (1 + math.cos(math.pi * step / steps)))


class ConvOptimiser:
    """One `step` for a module's convolutions (Muon) and for its other parameters (AdamW).

    A convolution over fewer than `FEWEST_IN` inputs (the stem) is left to AdamW: its kernel is too flat a
    matrix to be worth turning. `scale` sets both learning rates as a share of their highest.
    """

    FEWEST_IN = 4

    def __init__(
        self, trunk: nn.Module, others: Sequence[nn.Module], lr: float, matrix_lr: float, decay: float
    ) -> None:
        layers = [m for m in trunk.modules() if isinstance(m, nn.Conv2d)]
        self._kernels = [m.weight for m in layers if m.weight.shape[1] >= self.FEWEST_IN]
        known = {id(kernel) for kernel in self._kernels}
        modules = (trunk, *others)
        self._rest = [p for module in modules for p in module.parameters() if id(p) not in known]
        self._matrices = [nn.Parameter(as_matrix(kernel.detach())) for kernel in self._kernels]
        self._optimisers: tuple[tuple[Optimizer, float], ...] = (
            (Muon(self._matrices, lr=matrix_lr, weight_decay=0.0), matrix_lr),
            (AdamW(self._rest, lr=lr, weight_decay=decay, fused=True), lr),
        )

    def step(self, loss: Tensor, scale: float) -> None:
        """Go down `loss`, with learning rates `scale` (0 to 1) times their highest."""
        for parameter in (*self._kernels, *self._rest):
            parameter.grad = None
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._rest, 5.0)
        for matrix, kernel in zip(self._matrices, self._kernels, strict=True):
            matrix.grad = None if kernel.grad is None else as_matrix(kernel.grad)
        for optimiser, highest in self._optimisers:
            optimiser.param_groups[0]["lr"] = highest * scale
            optimiser.step()


def as_matrix(kernel: Tensor) -> Tensor:
    """A kernel [out, in, h, w] as a matrix [out, h * w * in]; of a channels-last kernel, the same memory."""
    return kernel.permute(0, 2, 3, 1).flatten(1)

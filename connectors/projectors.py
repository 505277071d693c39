"""The projectors of C-MCR and Ex-MCR, and the linear maps of their baselines, as small modules.

A projector takes native vectors [N, dim_in] and gives [N, dim_out]; it does not normalise its output
(`Connector.project` does, once, at the end of a chain). Parameter names inside a projector are those of
the authors' released state dicts, so importing one is a matter of prefixes. Each projector knows its
`spec`, the JSON object a connector's manifest keeps to rebuild it.

Sources: C-MCR (arXiv 2305.14381) and Ex-MCR (arXiv 2310.08884), sections on projectors, and the authors'
inference code for the exact layers.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from connectors.errors import CheckpointError

Spec = dict[str, Any]

MAX_BLOCKS = 64
"""A spec comes from a file: what it asks for is bounded."""


class Projector(nn.Module, ABC):
    """A map from vectors [N, dim_in] to vectors [N, dim_out] that can be rebuilt from its `spec`."""

    kind: ClassVar[str]
    dim_in: int
    dim_out: int

    @property
    def spec(self) -> Spec:
        """What `build_projector` needs to make an untrained copy."""
        return {"kind": self.kind, **self.shape()}

    @abstractmethod
    def shape(self) -> Spec:
        """Give the constructor's arguments, as JSON values."""

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Project [N, dim_in] to [N, dim_out]."""


class Linear(Projector):
    """One affine map: f_l of Ex-MCR (initialised to the identity), ridge and Procrustes.

    State dict: `weight` [dim_out, dim_in], `bias` [dim_out] (the authors' `Head1.weight`, `Head1.bias`).
    """

    kind = "linear"

    def __init__(self, dim_in: int, dim_out: int) -> None:
        super().__init__()
        self.dim_in, self.dim_out = dim_in, dim_out
        self.weight = nn.Parameter(torch.eye(dim_out, dim_in))
        self.bias = nn.Parameter(torch.zeros(dim_out))

    def shape(self) -> Spec:
        """See `Projector.shape`."""
        return {"dim_in": self.dim_in, "dim_out": self.dim_out}

    def forward(self, x: Tensor) -> Tensor:
        """See `Projector.forward`."""
        return F.linear(x, self.weight, self.bias)


class MlpBlock(Projector):
    """Linear, BatchNorm, ReLU, Linear, BatchNorm: one side of C-MCR's CLAP-CLIP head.

    State dict: `net1.0` Linear, `net1.1` BatchNorm, `net2.0` Linear, `net2.1` BatchNorm.
    """

    kind = "mlp_block"

    def __init__(self, dim_in: int, hidden: int, dim_out: int) -> None:
        super().__init__()
        self.dim_in, self.hidden, self.dim_out = dim_in, hidden, dim_out
        self.net1 = nn.Sequential(nn.Linear(dim_in, hidden), nn.BatchNorm1d(hidden), nn.ReLU())
        self.net2 = nn.Sequential(nn.Linear(hidden, dim_out), nn.BatchNorm1d(dim_out))

    def shape(self) -> Spec:
        """See `Projector.shape`."""
        return {"dim_in": self.dim_in, "hidden": self.hidden, "dim_out": self.dim_out}

    def forward(self, x: Tensor) -> Tensor:
        """See `Projector.forward`."""
        out: Tensor = self.net2(self.net1(x))
        return out


class MlpStack(Projector):
    """`blocks` MLP blocks in a row: f_m of Ex-MCR, which has two. Weights are Xavier-initialised.

    State dict: `mlp1.net1.0.weight`, ..., `mlp2.net2.1.bias` (the authors' `Head2.*`).
    """

    kind = "mlp_stack"

    def __init__(self, dim_in: int, hidden: int, dim_out: int, blocks: int = 2) -> None:
        super().__init__()
        if not 1 <= blocks <= MAX_BLOCKS:
            raise ValueError(f"an MLP stack has 1 to {MAX_BLOCKS} blocks, not {blocks}")
        self.dim_in, self.hidden, self.dim_out, self.blocks = dim_in, hidden, dim_out, blocks
        for index in range(1, blocks + 1):
            block = MlpBlock(dim_in if index == 1 else dim_out, hidden, dim_out)
            self.add_module(f"mlp{index}", block)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)

    def shape(self) -> Spec:
        """See `Projector.shape`."""
        return {
            "dim_in": self.dim_in,
            "hidden": self.hidden,
            "dim_out": self.dim_out,
            "blocks": self.blocks,
        }

    def forward(self, x: Tensor) -> Tensor:
        """See `Projector.forward`."""
        for block in self.children():
            x = block(x)
        return x


class SkipStack(Projector):
    """A linear map plus an MLP stack that starts at zero: f_m that departs from a closed-form solution.

    State dict: `linear.weight`, `linear.bias`, `stack.mlp1...`. The stack's last BatchNorm starts with
    weight 0, so an untrained projector is its linear part.
    """

    kind = "skip_stack"

    def __init__(self, dim_in: int, hidden: int, dim_out: int, blocks: int = 2) -> None:
        super().__init__()
        self.dim_in, self.hidden, self.dim_out, self.blocks = dim_in, hidden, dim_out, blocks
        self.linear = Linear(dim_in, dim_out)
        self.stack = MlpStack(dim_in, hidden, dim_out, blocks)
        last = self.stack.get_submodule(f"mlp{blocks}.net2.1")
        nn.init.zeros_(last.weight)  # type: ignore[arg-type]

    def shape(self) -> Spec:
        """See `Projector.shape`."""
        return self.stack.shape()

    def forward(self, x: Tensor) -> Tensor:
        """See `Projector.forward`."""
        out: Tensor = self.linear(x) + self.stack(x)
        return out


class LinearNormRelu(Projector):
    """Linear, BatchNorm, ReLU: one side of C-MCR's ULIP-CLIP head.

    State dict: `net.0` Linear, `net.1` BatchNorm.
    """

    kind = "linear_norm_relu"

    def __init__(self, dim_in: int, dim_out: int) -> None:
        super().__init__()
        self.dim_in, self.dim_out = dim_in, dim_out
        self.net = nn.Sequential(nn.Linear(dim_in, dim_out), nn.BatchNorm1d(dim_out), nn.ReLU())

    def shape(self) -> Spec:
        """See `Projector.shape`."""
        return {"dim_in": self.dim_in, "dim_out": self.dim_out}

    def forward(self, x: Tensor) -> Tensor:
        """See `Projector.forward`."""
        out: Tensor = self.net(x)
        return out


class Centre(Projector):
    """Subtract a mean and rescale to unit length: closes most of a modality gap at no cost.

    Equation 11 of docs/training.md. State dict: `mean` [dim].
    """

    kind = "centre"
    mean: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim_in = self.dim_out = dim
        self.register_buffer("mean", torch.zeros(dim))

    def shape(self) -> Spec:
        """See `Projector.shape`."""
        return {"dim": self.dim_in}

    def forward(self, x: Tensor) -> Tensor:
        """See `Projector.forward`."""
        return F.normalize(x - self.mean, dim=-1)


class Chain(Projector):
    """Projectors applied one after the other. State dict: `0.*`, `1.*`, ..."""

    kind = "chain"

    def __init__(self, steps: Sequence[Projector | Spec]) -> None:
        super().__init__()
        built = [s if isinstance(s, Projector) else build_projector(s) for s in steps]
        if not built:
            raise ValueError("a chain has at least one step")
        self.dim_in, self.dim_out = built[0].dim_in, built[-1].dim_out
        for index, step in enumerate(built):
            self.add_module(str(index), step)

    def shape(self) -> Spec:
        """See `Projector.shape`."""
        return {"steps": [step.spec for step in self.children() if isinstance(step, Projector)]}

    def forward(self, x: Tensor) -> Tensor:
        """See `Projector.forward`."""
        for step in self.children():
            x = step(x)
        return x


class Ensemble(Projector):
    """The mean of several projectors' normalised outputs (FreeBind), optionally weighted.

    State dict: `weights` [members], `0.*`, `1.*`, ...
    """

    kind = "ensemble"
    weights: Tensor

    def __init__(self, members: Sequence[Projector | Spec], weights: Sequence[float] | None = None) -> None:
        super().__init__()
        built = [m if isinstance(m, Projector) else build_projector(m) for m in members]
        if not built:
            raise ValueError("an ensemble has at least one member")
        self.dim_in, self.dim_out = built[0].dim_in, built[0].dim_out
        for index, member in enumerate(built):
            self.add_module(str(index), member)
        share = [1 / len(built)] * len(built) if weights is None else list(weights)
        self.register_buffer("weights", torch.tensor(share, dtype=torch.float32))

    def shape(self) -> Spec:
        """See `Projector.shape`."""
        return {"members": [m.spec for m in self.children() if isinstance(m, Projector)]}

    def forward(self, x: Tensor) -> Tensor:
        """See `Projector.forward`."""
        outputs = torch.stack([F.normalize(member(x), dim=-1) for member in self.children()])
        return torch.einsum("m,mnd->nd", self.weights, outputs)


KINDS: Mapping[str, type[Projector]] = {
    cls.kind: cls for cls in (Linear, MlpBlock, MlpStack, SkipStack, LinearNormRelu, Centre, Chain, Ensemble)
}


def build_projector(spec: Spec) -> Projector:
    """Make an untrained projector from its spec. Raises `CheckpointError` for a spec it cannot read."""
    arguments = dict(spec)
    kind = arguments.pop("kind", None)
    if kind not in KINDS:
        raise CheckpointError(f"unknown projector kind {kind!r}; known: {', '.join(KINDS)}")
    try:
        return KINDS[kind](**arguments)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"projector spec {spec} does not fit {kind!r}: {error}") from error

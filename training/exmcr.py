"""Ex-MCR: projectors take a leaf space into an untouched base space, to be read beside the paper.

Given pseudo-pairs, gives the loss; once trained, f_l and f_m are a connector's projectors. Equations 2,
4 and 8 to 10 of docs/training.md, and 12 where a recipe asks for it; source: Ex-MCR (arXiv 2310.08884,
NeurIPS 2024).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from connectors.projectors import Linear, MlpStack, Projector, SkipStack
from training.losses import (
    Contrast,
    attraction,
    dense_inter_space_loss,
    info_nce,
    neighbourhood_loss,
)
from training.pseudo_pairs import PseudoPairs, Role
from training.recipe import LossOptions, ProjectorOptions


class ExMCR(nn.Module):
    """f_l, which closes the leaf's own modality gap, and f_m, which takes the leaf into the base.

    The leaf's own modality passes f_m(f_l(x)), its overlapping modality f_m(x), the base nothing.
    """

    def __init__(
        self, base_dim: int, leaf_dim: int, projector: ProjectorOptions, options: LossOptions
    ) -> None:
        super().__init__()
        self.options = options
        self.f_l: Projector = Linear(leaf_dim, leaf_dim)
        if projector.leaf_layers:
            self.f_l = MlpStack(leaf_dim, projector.hidden, leaf_dim, projector.leaf_layers)
        self.f_m = _f_m(leaf_dim, base_dim, projector)

    def chains(self) -> dict[Role, tuple[Projector, ...]]:
        """Which projectors each kind of embedding passes, in order."""
        return {
            "base_overlap": (),
            "base_other": (),
            "leaf_overlap": (self.f_m,),
            "leaf_other": (self.f_l, self.f_m),
        }

    @torch.no_grad()
    def start_at(self, weight: Tensor) -> None:
        """Let f_m begin at a linear map [leaf dim, base dim], if it has a linear part."""
        linear = self.f_m if isinstance(self.f_m, Linear) else getattr(self.f_m, "linear", None)
        if isinstance(linear, Linear):
            linear.weight.copy_(weight.T)

    def loss(
        self,
        pairs: PseudoPairs,
        generator: torch.Generator | None = None,
        contrast: Contrast = info_nce,
    ) -> dict[str, Tensor]:
        """Equation 10: L = L_inter + λ L_intra, on embeddings completed by equation 2.

        Gives the total as `loss` and its terms by name.
        """
        o = self.options
        pairs = pairs.completed(o.noise_variance, generator)
        a = self.f_l(pairs.leaf_other)
        # One batch through f_m: its BatchNorm must see in training the mixture it will serve.
        projected = self.f_m(torch.cat([a, pairs.leaf_overlap]))
        leaf, overlap = torch.split(F.normalize(projected.float(), dim=1), len(pairs))
        inter = dense_inter_space_loss(
            {"leaf": leaf, "overlap": overlap},
            {"overlap": pairs.base_overlap, "base": pairs.base_other},
            o.contrasts,
            o.overlap_temperature,
            contrast,
        )
        intra = attraction(a.float(), pairs.leaf_overlap, o.intra_squared)
        terms = {"inter": inter, "intra": intra}
        total = inter + o.intra_weight * intra
        if o.neighbourhood_weight:
            terms["neighbourhood"] = neighbourhood_loss(
                pairs.leaf_overlap, overlap, o.neighbourhood_temperature
            )
            total = total + o.neighbourhood_weight * terms["neighbourhood"]
        return {"loss": total, **terms}

    def real_loss(self, base: Tensor, leaf: Tensor, contrast: Contrast = info_nce) -> Tensor:
        """InfoNCE of real pairs of the two other modalities, [N, base dim] and [N, leaf dim]."""
        projected = F.normalize(self.f_m(self.f_l(leaf)).float(), dim=1)
        return contrast(projected, base, self.options.overlap_temperature)


def _f_m(dim_in: int, dim_out: int, projector: ProjectorOptions) -> Projector:
    if projector.layers == 0:
        return Linear(dim_in, dim_out)
    if projector.skip:
        return SkipStack(dim_in, projector.hidden, dim_out, projector.layers)
    return MlpStack(dim_in, projector.hidden, dim_out, projector.layers)

"""C-MCR: two projectors take a base and a leaf space into a new one, to be read beside the paper.

Given pseudo-pairs, gives the loss; once trained, its two projectors are a connector's heads. Equations
2 and 4 to 7 of docs/training.md, and 12 where a recipe asks for it; source: C-MCR (arXiv 2305.14381, NeurIPS
2023).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from connectors.projectors import LinearNormRelu, MlpBlock, Projector
from training.losses import (
    Contrast,
    info_nce,
    inter_space_loss,
    intra_space_loss,
    neighbourhood_loss,
)
from training.pseudo_pairs import PseudoPairs, Role
from training.recipe import LossOptions, ProjectorOptions


class CMCR(nn.Module):
    """f_base and f_leaf, [N, base or leaf dim] -> [N, base dim] each, unit length after `project`.

    `two_layer` is the CLAP-CLIP head (Linear, BatchNorm, ReLU, Linear, BatchNorm), `one_layer` the
    ULIP-CLIP head (Linear, BatchNorm, ReLU).
    """

    def __init__(
        self, base_dim: int, leaf_dim: int, projector: ProjectorOptions, options: LossOptions
    ) -> None:
        super().__init__()
        self.options = options
        self.f_base = _side(base_dim, base_dim, projector)
        self.f_leaf = _side(leaf_dim, base_dim, projector)

    def chains(self) -> dict[Role, tuple[Projector, ...]]:
        """Which projectors each kind of embedding passes, in order."""
        base, leaf = (self.f_base,), (self.f_leaf,)
        return {
            "base_overlap": base,
            "base_other": base,
            "leaf_overlap": leaf,
            "leaf_other": leaf,
        }

    def loss(
        self,
        pairs: PseudoPairs,
        generator: torch.Generator | None = None,
        contrast: Contrast = info_nce,
    ) -> dict[str, Tensor]:
        """Equation 7: L = L_inter + λ L_intra, on embeddings completed by equation 2.

        Gives the total as `loss` and its terms by name.
        """
        o, n = self.options, len(pairs)
        pairs = pairs.completed(o.noise_variance, generator)
        base = self.f_base(torch.cat([pairs.base_overlap, pairs.base_other]))
        leaf = self.f_leaf(torch.cat([pairs.leaf_overlap, pairs.leaf_other]))
        t_i, v_i = torch.split(F.normalize(base.float(), dim=1), n)
        t_a, a_a = torch.split(F.normalize(leaf.float(), dim=1), n)
        inter = inter_space_loss(t_i, t_a, v_i, a_a, o.overlap_temperature, o.other_temperature, contrast)
        intra = intra_space_loss(t_i, v_i, t_a, a_a, o.intra_squared)
        terms = {"inter": inter, "intra": intra}
        total = inter + o.intra_weight * intra
        if o.neighbourhood_weight:
            terms["neighbourhood"] = neighbourhood_loss(pairs.leaf_overlap, t_a, o.neighbourhood_temperature)
            total = total + o.neighbourhood_weight * terms["neighbourhood"]
        return {"loss": total, **terms}

    def real_loss(self, base: Tensor, leaf: Tensor, contrast: Contrast = info_nce) -> Tensor:
        """InfoNCE of real pairs of the two other modalities, [N, base dim] and [N, leaf dim]."""
        x = F.normalize(self.f_base(base).float(), dim=1)
        y = F.normalize(self.f_leaf(leaf).float(), dim=1)
        return contrast(x, y, self.options.other_temperature)


def _side(dim_in: int, dim_out: int, projector: ProjectorOptions) -> Projector:
    if projector.cmcr_shape == "one_layer":
        return LinearNormRelu(dim_in, dim_out)
    return MlpBlock(dim_in, projector.hidden, dim_out)

"""The assembly: trained projectors and closed forms become connectors, head by head.

Given a recipe and the native memories, it knows the frame they are compared in (centred or not), and
puts projectors behind the right centring into a `Connector` with its manifest.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field

import torch
from torch import Tensor

from connectors.connector import Connector, ConnectorManifest
from connectors.projectors import Centre, Chain, Ensemble, Linear, Projector
from training.closed_form import choose_penalty, procrustes, ridge
from training.pseudo_pairs import ROLES, Memories, Role
from training.recipe import Recipe
from training.trainer import Model

Steps = list[tuple[str, Projector]]
"""A head: its projectors in order, each with the name the manifest gives it."""

LEAF: tuple[Role, ...] = ("leaf_overlap", "leaf_other")


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where embeddings came from: encoder fingerprints by space, items_sha256 by 'space/modality'."""

    encoders: Mapping[str, str] = field(default_factory=dict)
    feature_sets: Mapping[str, str] = field(default_factory=dict)


class Assembly:
    """Makes connectors of one recipe from the memories it is trained on.

    `memories` are those memories in the frame the recipe compares them in.
    """

    def __init__(
        self,
        recipe: Recipe,
        roles: Mapping[Role, str],
        native: Memories,
        provenance: Provenance,
    ) -> None:
        self.recipe, self.roles, self.provenance = recipe, roles, provenance
        self._native = native
        self._means = native.means()
        centring = recipe.connection.centring
        self._centred: tuple[Role, ...] = {"none": (), "leaf": LEAF, "all": ROLES}[centring]
        self.memories = Memories(**{role: self.framed(role, getattr(native, role)) for role in ROLES})

    @torch.no_grad()
    def framed(self, role: Role, vectors: Tensor) -> Tensor:
        """Native vectors [N, dim] in the recipe's frame: centred, if it centres that kind."""
        return self._centre(role)(vectors) if role in self._centred else vectors

    def baselines(self) -> dict[str, Connector]:
        """Ridge and Procrustes from leaf to base overlap, applied to both leaf modalities.

        The leaf is always centred for them and the base where the recipe centres it: without that they
        are no fair rivals.
        """
        centred = self._native.centred()
        x, y = centred.leaf_overlap, centred.base_overlap
        penalty = choose_penalty(x, y, self.recipe.ridge, self.recipe.optim.seed)
        found = {}
        for method, weight in {"ridge": ridge(x, y, penalty), "procrustes": procrustes(x, y)}.items():
            heads: dict[Role, Steps] = {role: self._prefix(role) for role in ROLES}
            for role in LEAF:
                heads[role] = [self._named_centre(role), (method, _linear(weight))]
            found[method] = self._connector(method, self.recipe.base, heads)
        return found

    def trained(self, members: Sequence[Model], start: Tensor) -> Connector:
        """One connector from the trained models: one as it is, several (and ridge's share) averaged."""
        share = self.recipe.connection.ridge_share
        base = None if self.recipe.method == "cmcr" else self.recipe.base
        heads: dict[Role, Steps] = {}
        for role in ROLES:
            chains = [member.chains()[role] for member in members]
            names = {module: name for name, module in members[0].named_children()}
            steps: Steps = [(names[projector], projector) for projector in chains[0]]
            if role in LEAF and (share or len(members) > 1):
                parts: list[Projector] = [Chain([deepcopy(p) for p in chain]) for chain in chains]
                weights = [(1 - share) / len(parts)] * len(parts)
                if share:
                    parts, weights = [*parts, _linear(start)], [*weights, share]
                steps = [(f"mean_{self._tag(role)}", Ensemble(parts, weights))]
            heads[role] = self._prefix(role) + steps
        return self._connector(self.recipe.method, base, heads)

    def _connector(self, method: str, base: str | None, heads: Mapping[Role, Steps]) -> Connector:
        projectors = {name: projector for steps in heads.values() for name, projector in steps}
        manifest = ConnectorManifest(
            method=method,
            base=base,
            dim=self._native.base_overlap.shape[1],
            heads={self.roles[role]: [name for name, _ in steps] for role, steps in heads.items()},
            projectors={name: projector.spec for name, projector in projectors.items()},
            encoders=dict(self.provenance.encoders),
            recipe=self.recipe.model_dump(mode="json"),
            feature_sets=dict(self.provenance.feature_sets),
            seed=self.recipe.optim.seed,
        )
        return Connector(manifest, projectors)

    def _prefix(self, role: Role) -> Steps:
        return [self._named_centre(role)] if role in self._centred else []

    def _named_centre(self, role: Role) -> tuple[str, Projector]:
        return f"centre_{self._tag(role)}", self._centre(role)

    def _centre(self, role: Role) -> Projector:
        centre = Centre(len(self._means[role]))
        centre.mean.copy_(self._means[role])
        return centre

    def _tag(self, role: Role) -> str:
        return self.roles[role].replace("/", "_")


def _linear(weight: Tensor) -> Linear:
    """A `Linear` for a matrix [dim in, dim out]."""
    linear = Linear(*weight.shape)
    with torch.no_grad():
        linear.weight.copy_(weight.T)
    return linear

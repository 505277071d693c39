"""Simulated frozen spaces with a known latent, to see in seconds whether a recipe works.

Given a `World` (how many dimensions, how noisy), gives the four memories a recipe is trained on and
test items whose truth is known: row i of every test matrix is the same thing, seen by one modality of
one space. Nothing pairs the leaf's own modality with the base's in what training sees.

A thing is a latent vector: its concept's centre plus its own detail. A modality sees part of the latent
through noise. A space maps what is seen through one random nonlinear map shared by its modalities, then
each modality adds private nuisance dimensions and a constant offset: the modality gap.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from training.pseudo_pairs import ROLES, Memories, Role


@dataclass(frozen=True, slots=True)
class World:
    """How hard the simulated spaces are. The defaults leave a plain recipe between 10 and 60 % R@1."""

    dim: int = 96
    latent: int = 16
    concepts: int = 60
    detail: float = 0.7  # spread of a thing about its concept's centre, which has spread 1
    gap: float = 1.0  # length of each modality's offset; a meaning has length 1
    nuisance: float = 0.6  # length of a modality's private part
    nuisance_dims: int = 8
    noise: float = 0.25  # what a modality mistakes in the latent, a dimension
    covered: float = 0.6  # share of the concepts that the leaf's own modality has anything of
    blind: float = 0.25  # share of the latent that the leaf's own modality does not see
    bend: float = 1.5  # how far into the nonlinearity of the spaces' maps a latent reaches
    overlap_items: int = 6000
    base_items: int = 3000
    leaf_items: int = 3000
    test_items: int = 500


@dataclass(frozen=True, slots=True)
class Simulation:
    """Memories to train on and aligned test embeddings, all float32 [N, dim], L2-normalised."""

    memories: Memories
    test: dict[Role, Tensor]
    labels: Tensor  # int64 [test_items], the concept of each test item


def simulate(world: World, seed: int = 0) -> Simulation:
    """Draw a world's spaces, memories and test items. The same seed gives the same tensors."""
    rng = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=rng)

    centres = normal(world.concepts, world.latent)

    def things(n: int, covered: float = 1.0) -> tuple[Tensor, Tensor]:
        concept = torch.randint(round(covered * world.concepts), (n,), generator=rng)
        return centres[concept] + world.detail * normal(n, world.latent), concept

    maps = {
        space: (
            normal(world.latent, 2 * world.dim) * world.bend / world.latent**0.5,
            normal(2 * world.dim, world.dim),
        )
        for space in ("base", "leaf")
    }
    private = {role: normal(world.nuisance_dims, world.dim) for role in ROLES}
    offset = {role: F.normalize(normal(world.dim), dim=0) * world.gap for role in ROLES}
    sees = {role: torch.ones(world.latent) for role in ROLES}
    sees["leaf_other"][: round(world.blind * world.latent)] = 0

    def embed(latents: Tensor, role: Role) -> Tensor:
        n = len(latents)
        seen = (latents + world.noise * normal(n, world.latent)) * sees[role]
        inner, outer = maps[role.split("_")[0]]
        meaning = F.normalize(torch.tanh(seen @ inner) @ outer, dim=1)
        nuisance = normal(n, world.nuisance_dims) @ private[role]
        nuisance *= world.nuisance / (world.nuisance_dims * world.dim) ** 0.5
        return F.normalize(meaning + nuisance + offset[role], dim=1)

    shared, _ = things(world.overlap_items)
    memories = Memories(
        base_overlap=embed(shared, "base_overlap"),
        leaf_overlap=embed(shared, "leaf_overlap"),
        base_other=embed(things(world.base_items)[0], "base_other"),
        leaf_other=embed(things(world.leaf_items, world.covered)[0], "leaf_other"),
    )
    latents, labels = things(world.test_items, world.covered)
    return Simulation(memories, {role: embed(latents, role) for role in ROLES}, labels)

"""A connection: a recipe and embeddings in; a connector and its closed-form baselines out.

Given a `Recipe` and one matrix of native vectors for each 'space/modality', makes pseudo-pairs, trains
the projectors and gives `Connector`s ready to save. Everything is in memory: `run.py` reads feature
sets, measures and writes.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from connectors.connector import Connector
from connectors.errors import ConfigError
from training.assembly import Assembly, Provenance
from training.closed_form import choose_penalty, ridge
from training.cmcr import CMCR
from training.exmcr import ExMCR
from training.feature_set import unit_rows
from training.parallel import Group
from training.pseudo_pair_store import PseudoPairStore, content_hash
from training.pseudo_pairs import Memories, Role, concatenate
from training.recipe import Recipe
from training.trainer import Model, Progress, RealPairs, Trainer, batch_rows


@dataclass(frozen=True, slots=True)
class Connection:
    """What a recipe made of its embeddings."""

    connector: Connector
    baselines: dict[str, Connector]  # ridge and procrustes
    histories: list[list[dict[str, float]]]  # losses of every step, one list a trained projector


def connect(
    recipe: Recipe,
    features: Mapping[str, Tensor],
    *,
    real_pairs: Mapping[str, Tensor] | None = None,
    provenance: Provenance | None = None,
    store: PseudoPairStore | None = None,
    checkpoints: Path | None = None,
    device: torch.device | str = "cpu",
    group: Group | None = None,
    on_step: Callable[[Progress], None] | None = None,
) -> Connection:
    """Train a recipe's connector on embeddings in memory.

    Args:
        recipe: what to do; its [features], [real_pairs] and [evaluation] paths are not read here.
        features: 'space/modality' -> native vectors [N, dim]. The two of the overlapping modality are
            rows of the same items; the other two are paired with nothing.
        real_pairs: likewise for the two other modalities, rows of the same items.
        provenance: what the manifest shall say about the embeddings.
        store: where pseudo-pairs are kept and found again; without it they are made anew.
        checkpoints: a directory for checkpoints to resume from.
        device: where to compute.
        group: the processes of a torchrun.
        on_step: called after every training step.

    Raises:
        ConfigError: embeddings that do not fit the recipe or each other, are not finite or are too few.

    """
    group = group or Group()
    roles = recipe.roles(features)
    native = Memories(**{role: unit_rows(name, features[name]) for role, name in roles.items()})
    _check_same_items(roles, native)
    assemble = Assembly(recipe, roles, native, provenance or Provenance())
    real = _real(recipe, roles, assemble, real_pairs or {})
    ensemble = recipe.connection.ensemble or (recipe.pseudo_pairs.queries,)
    if recipe.method in ("exmcr", "cmcr"):
        for queries in ensemble:
            batch_rows(recipe.optim, sum(native.rows(query) for query in queries), group)
    memories = assemble.memories
    fit = (memories.leaf_overlap, memories.base_overlap)
    start = ridge(*fit, choose_penalty(*fit, recipe.ridge, recipe.optim.seed))

    baselines = assemble.baselines()
    if recipe.method in ("ridge", "procrustes"):
        return Connection(baselines[recipe.method], baselines, [])

    store = store or PseudoPairStore()
    members: list[Model] = []
    histories = []
    for index, queries in enumerate(ensemble):
        if group.rank > 0:
            group.wait()  # for the first process to store the pools
        pairs = concatenate([store.pool(memories, q, recipe.pseudo_pairs) for q in queries])
        if group.rank == 0:
            group.wait()
        seed = recipe.optim.seed + 1000 * index
        model = _model(recipe, memories, start, seed).to(device)
        trainer = Trainer(
            model,
            pairs,
            recipe.optim.model_copy(update={"seed": seed}),
            group=group,
            real=real,
            checkpoint=checkpoints / f"projector-{index}.safetensors" if checkpoints else None,
            fingerprint=_fingerprint(recipe, memories, index) if checkpoints else "",
            on_step=on_step,
        )
        histories.append(trainer.run())
        members.append(model.cpu())
    return Connection(assemble.trained(members, start), baselines, histories)


def _check_same_items(roles: Mapping[Role, str], native: Memories) -> None:
    base, leaf = native.base_overlap, native.leaf_overlap
    if len(base) != len(leaf):
        raise ConfigError(
            f"{roles['base_overlap']} has {len(base)} items and {roles['leaf_overlap']} {len(leaf)}: "
            "both must be features of the same items, in the same order"
        )
    for space in ("base", "leaf"):
        dims = {int(getattr(native, f"{space}_{part}").shape[1]) for part in ("overlap", "other")}
        if len(dims) > 1:
            raise ConfigError(f"the two modalities of the {space} space differ in dimension: {dims}")


def _model(recipe: Recipe, memories: Memories, start: Tensor, seed: int) -> Model:
    """Build the method's model, its random start decided by `seed` alone."""
    dims = memories.base_overlap.shape[1], memories.leaf_overlap.shape[1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if recipe.method == "cmcr":
            return CMCR(*dims, recipe.projector, recipe.loss)
        model = ExMCR(*dims, recipe.projector, recipe.loss)
    model.start_at(start)
    return model


def _real(
    recipe: Recipe, roles: Mapping[Role, str], assembly: "Assembly", given: Mapping[str, Tensor]
) -> RealPairs | None:
    if not recipe.loss.real_weight:
        return None
    names = {roles["base_other"], roles["leaf_other"]}
    if set(given) != names:
        raise ConfigError(
            f"[real_pairs] must name {' and '.join(sorted(names))}; it has: {', '.join(given) or 'nothing'}"
        )
    base, leaf = (
        assembly.framed(role, unit_rows(roles[role], given[roles[role]]))
        for role in ("base_other", "leaf_other")
    )
    if len(base) != len(leaf):
        raise ConfigError(f"[real_pairs] has {len(base)} and {len(leaf)} items: need the same items")
    return RealPairs(base, leaf, recipe.loss.real_weight)


def _fingerprint(recipe: Recipe, memories: Memories, member: int) -> str:
    """Identify what a checkpoint belongs to: this recipe on these embeddings."""
    digest = hashlib.sha256(recipe.model_dump_json(exclude={"features", "evaluation"}).encode())
    digest.update(f"{content_hash(memories)}/{member}".encode())
    return digest.hexdigest()

"""Pseudo-pairs on disk: made once for given memories and options, found again by every later run.

Given a directory (or none: nothing is kept), gives the pool of one query. A stored pool is a directory
named by a hash over the contents of the memories and the options: `pool.json` {format:
"isthmus.pseudo-pairs/1", query, options, memories, rows} and one float16 `.npy` [rows, dim] for each of
the embeddings that were made; those the query has itself are not stored again.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from connectors.staged_directory import staged_directory
from training.pseudo_pairs import ROLES, Memories, PseudoPairs, Query, Role, make_pseudo_pairs
from training.recipe import PseudoPairOptions

FORMAT = "isthmus.pseudo-pairs/1"

NATIVE: dict[Query, tuple[Role, ...]] = {
    "overlap": ("base_overlap", "leaf_overlap"),
    "leaf": ("leaf_other",),
    "base": ("base_other",),
}
"""What a query has itself; the rest of the four is made."""


class PseudoPairStore:
    """Makes pools, and keeps them under `directory` if there is one."""

    def __init__(self, directory: Path | None = None, device: torch.device | str = "cpu") -> None:
        self.directory, self.device = directory, device

    def pool(self, memories: Memories, query: Query, options: PseudoPairOptions) -> PseudoPairs:
        """Give the pool of one query, stored or fresh: float32 on the memories' own device."""
        if self.directory is None:
            return self._make(memories, query, options)
        described = {
            "format": FORMAT,
            "query": query,
            "options": options.model_dump(mode="json", exclude={"queries"}),
            "memories": content_hash(memories),
        }
        text = json.dumps(described, sort_keys=True)
        target = self.directory / f"{query}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
        made = [role for role in ROLES if role not in NATIVE[query]]
        if not target.is_dir():
            pool = self._make(memories, query, options)
            with staged_directory(target) as staging:
                for role in made:
                    np.save(staging / f"{role}.npy", getattr(pool, role).cpu().numpy().astype("f2"))
                record = json.dumps({**described, "rows": len(pool)}, indent=2, sort_keys=True)
                (staging / "pool.json").write_text(record + "\n", encoding="utf-8")
        # Read back even when just made, so that the first run is no different from the later ones.
        parts = {role: _read(target / f"{role}.npy") for role in made}
        return PseudoPairs(**parts, **{role: getattr(memories, role) for role in NATIVE[query]})

    def _make(self, memories: Memories, query: Query, options: PseudoPairOptions) -> PseudoPairs:
        there = Memories(**{r: getattr(memories, r).to(self.device) for r in ROLES})
        pool = make_pseudo_pairs(
            there,
            query,
            weighting=options.weighting,
            temperature=options.temperature,
            top_k=options.top_k,
            dtype=getattr(torch, options.precision),
        )
        return pool.to(memories.base_overlap.device)


def content_hash(memories: Memories) -> str:
    """sha256 over the values of all four memories, whatever files they came from."""
    digest = hashlib.sha256()
    for role in ROLES:
        vectors: Tensor = getattr(memories, role)
        digest.update(f"{role}{list(vectors.shape)}{vectors.dtype}".encode())
        digest.update(vectors.contiguous().cpu().numpy().data)
    return digest.hexdigest()


def _read(path: Path) -> Tensor:
    return torch.from_numpy(np.load(path, allow_pickle=False)).float()

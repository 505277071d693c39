import json

import torch
from torch.nn import functional as F

from training.pseudo_pair_store import PseudoPairStore
from training.pseudo_pairs import Memories, make_pseudo_pairs
from training.recipe import load_recipe


def unit(rows, dim, seed):
    return F.normalize(torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed)), dim=1)


MEMORIES = Memories(unit(40, 12, 0), unit(40, 8, 1), unit(30, 12, 2), unit(20, 8, 3))
OPTIONS = load_recipe("exmcr-paper").pseudo_pairs


def test_a_pool_is_made_once_and_found_again(tmp_path):
    first = PseudoPairStore(tmp_path).pool(MEMORIES, "leaf", OPTIONS)
    (stored,) = tmp_path.iterdir()
    stamp = (stored / "base_other.npy").stat().st_mtime_ns
    again = PseudoPairStore(tmp_path).pool(MEMORIES, "leaf", OPTIONS)

    assert (stored / "base_other.npy").stat().st_mtime_ns == stamp
    assert torch.equal(first.base_other, again.base_other)
    assert json.loads((stored / "pool.json").read_text())["rows"] == 20


def test_a_stored_pool_is_the_one_that_would_be_made(tmp_path):
    stored = PseudoPairStore(tmp_path).pool(MEMORIES, "base", OPTIONS)
    made = make_pseudo_pairs(MEMORIES, "base")

    for role in ("base_overlap", "base_other", "leaf_overlap", "leaf_other"):
        torch.testing.assert_close(getattr(stored, role), getattr(made, role), atol=1e-3, rtol=0)


def test_what_the_query_has_itself_is_not_stored_again(tmp_path):
    PseudoPairStore(tmp_path).pool(MEMORIES, "overlap", OPTIONS)
    (stored,) = tmp_path.iterdir()

    assert {path.name for path in stored.iterdir()} == {
        "pool.json",
        "base_other.npy",
        "leaf_other.npy",
    }


def test_other_memories_options_or_queries_make_other_pools(tmp_path):
    store = PseudoPairStore(tmp_path)
    shifted = Memories(unit(40, 12, 9), MEMORIES.leaf_overlap, MEMORIES.base_other, MEMORIES.leaf_other)
    store.pool(MEMORIES, "overlap", OPTIONS)
    store.pool(MEMORIES, "leaf", OPTIONS)
    store.pool(shifted, "overlap", OPTIONS)
    store.pool(MEMORIES, "overlap", OPTIONS.model_copy(update={"weighting": "hard"}))

    assert len(list(tmp_path.iterdir())) == 4

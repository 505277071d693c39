import pytest
import torch
from torch.nn import functional as F

from training.pseudo_pairs import Memories, concatenate, make_pseudo_pairs


def unit(rows, dim, seed):
    return F.normalize(torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed)), dim=1)


MEMORIES = Memories(
    base_overlap=unit(40, 12, 0),
    leaf_overlap=unit(40, 8, 1),
    base_other=unit(30, 12, 2),
    leaf_other=unit(20, 8, 3),
)


def agg(queries, keys, values, temperature=0.01):
    return F.normalize((queries @ keys.T / temperature).softmax(1) @ values, dim=1)


def test_overlap_queries_keep_both_natives_and_read_each_memory_in_its_own_space():
    m = MEMORIES
    pool = make_pseudo_pairs(m, "overlap")

    assert pool.base_overlap is m.base_overlap
    assert pool.leaf_overlap is m.leaf_overlap
    torch.testing.assert_close(pool.base_other, agg(m.base_overlap, m.base_other, m.base_other))
    torch.testing.assert_close(pool.leaf_other, agg(m.leaf_overlap, m.leaf_other, m.leaf_other))


def test_leaf_queries_read_the_overlap_in_both_spaces_with_the_same_weights():
    m = MEMORIES
    pool = make_pseudo_pairs(m, "leaf")

    base_overlap = agg(m.leaf_other, m.leaf_overlap, m.base_overlap)
    assert pool.leaf_other is m.leaf_other
    torch.testing.assert_close(pool.leaf_overlap, agg(m.leaf_other, m.leaf_overlap, m.leaf_overlap))
    torch.testing.assert_close(pool.base_overlap, base_overlap)
    torch.testing.assert_close(pool.base_other, agg(base_overlap, m.base_other, m.base_other))


def test_base_queries_are_the_mirror_image():
    m = MEMORIES
    pool = make_pseudo_pairs(m, "base")

    leaf_overlap = agg(m.base_other, m.base_overlap, m.leaf_overlap)
    assert pool.base_other is m.base_other
    torch.testing.assert_close(pool.base_overlap, agg(m.base_other, m.base_overlap, m.base_overlap))
    torch.testing.assert_close(pool.leaf_overlap, leaf_overlap)
    torch.testing.assert_close(pool.leaf_other, agg(leaf_overlap, m.leaf_other, m.leaf_other))


@pytest.mark.parametrize(("query", "rows"), [("overlap", 40), ("leaf", 20), ("base", 30)])
def test_a_pool_has_a_row_a_query(query, rows):
    assert len(make_pseudo_pairs(MEMORIES, query, weighting="hard")) == rows


def test_pools_join_row_for_row():
    pools = [make_pseudo_pairs(MEMORIES, query) for query in ("overlap", "leaf")]
    union = concatenate(pools)

    assert len(union) == 60
    last = union.rows(torch.tensor([59]))
    torch.testing.assert_close(last.leaf_other, MEMORIES.leaf_other[-1:])
    torch.testing.assert_close(last.base_overlap, pools[1].base_overlap[-1:])


def test_centred_memories_have_no_modality_gap():
    def gap(m):
        return (m.base_overlap.mean(0) - m.base_other.mean(0)).norm().item()

    apart = Memories(
        F.normalize(MEMORIES.base_overlap + 1, dim=1),
        MEMORIES.leaf_overlap,
        MEMORIES.base_other,
        MEMORIES.leaf_other,
    )

    assert gap(apart.centred()) < 0.2 * gap(apart)

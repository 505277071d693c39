"""Memory aggregation, agg(q, K, V) = normalize(softmax(q Kᵀ / τ1) V), in blocks.

Given queries [N, d], keys [M, d] and any number of values [M, e], gives one [N, e] tensor a value,
every one read with the same weights (the shared-weights rule of Ex-MCR). The N x M similarities exist
only one block at a time, so memory is bounded by the block, not by the job.

Source: C-MCR (arXiv 2305.14381), semantic consistency, equation 1 of docs/training.md; top-k and hard
weights are OmniBind's item-level pseudo-pairs.
"""

from collections.abc import Iterator
from typing import Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

Weighting: TypeAlias = Literal["soft", "top_k", "hard"]

BLOCKS = {"cpu": (2048, 1024), "cuda": (16384, 8192)}
"""Rows of queries and of keys a block, by device type: on a CPU a block of logits stays in cache."""


def aggregate(
    queries: Tensor,
    keys: Tensor,
    *values: Tensor,
    weighting: Weighting = "soft",
    temperature: float = 0.01,
    top_k: int = 8,
    dtype: torch.dtype = torch.float32,
    blocks: tuple[int, int] | None = None,
) -> tuple[Tensor, ...]:
    """Read `values` with the weights the queries give the keys (equation 1).

    Args:
        queries: [N, d], unit vectors of any floating dtype; their device does the work.
        keys: [M, d], unit vectors; blocks are moved to the queries' device as they are needed.
        values: each [M, e], one row a key.
        weighting: `soft` (softmax over all keys), `top_k` (softmax over the `top_k` nearest) or `hard`
            (the nearest alone).
        temperature: τ1.
        top_k: how many keys `top_k` keeps; all where there are fewer.
        dtype: float32, or bfloat16 to multiply in that precision where the device has it (CUDA). Logits
            and sums are float32 either way; the CPU multiplies in float32 always.
        blocks: rows of queries and of keys a block; the default suits the device.

    Returns:
        One float32 [N, e] a value, L2-normalised.

    Raises:
        ValueError: shapes that do not fit, no keys, or a temperature that is not positive.

    """
    if not len(keys) or any(len(value) != len(keys) for value in values):
        sizes = [len(value) for value in values]
        raise ValueError(f"{len(keys)} keys for values of {sizes} rows: need one row a key, at least one")
    if queries.shape[1] != keys.shape[1]:
        raise ValueError(f"queries have {queries.shape[1]} dimensions, keys {keys.shape[1]}")
    if temperature <= 0 or top_k < 1:
        raise ValueError(f"temperature ({temperature}) and top_k ({top_k}) must be positive")
    rows, columns = blocks or BLOCKS.get(queries.device.type, BLOCKS["cpu"])
    multiply = dtype if queries.is_cuda else torch.float32
    outputs = tuple(torch.empty(len(queries), value.shape[1], device=queries.device) for value in values)
    for start in range(0, len(queries), rows):
        block = queries[start : start + rows].to(multiply)
        if weighting == "soft":
            read = _soft(block, keys, values, temperature, columns)
        else:
            read = _nearest(block, keys, values, temperature, top_k if weighting == "top_k" else 1, columns)
        for output, part in zip(outputs, read, strict=True):
            output[start : start + rows] = F.normalize(part, dim=1)
    return outputs


def _soft(
    queries: Tensor, keys: Tensor, values: tuple[Tensor, ...], temperature: float, columns: int
) -> list[Tensor]:
    """Softmax in one pass: sums are kept relative to the largest logit so far and rescaled as it grows."""
    n = len(queries)
    largest = torch.full((n, 1), -torch.inf, device=queries.device)
    total = torch.zeros(n, 1, device=queries.device)
    sums = [torch.zeros(n, value.shape[1], device=queries.device) for value in values]
    for part, logits in _logits(queries, keys, columns, 1 / temperature):
        former = largest
        largest = torch.maximum(former, logits.amax(1, keepdim=True))
        weights = logits.sub_(largest).exp_()
        shrink = (former - largest).exp_()
        total.mul_(shrink).add_(weights.sum(1, keepdim=True))
        for acc, value in zip(sums, values, strict=True):
            read = value[part].to(queries)
            acc.mul_(shrink)
            if queries.dtype == torch.float32:
                acc.addmm_(weights, read)
            else:
                acc.add_(torch.mm(weights.to(queries.dtype), read, out_dtype=torch.float32))
    return [acc.div_(total) for acc in sums]


def _nearest(
    queries: Tensor, keys: Tensor, values: tuple[Tensor, ...], temperature: float, k: int, columns: int
) -> list[Tensor]:
    """The k nearest keys of each query, kept as a running list, then their softmax."""
    n = len(queries)
    best = torch.empty(n, 0, device=queries.device)
    index = torch.empty(n, 0, dtype=torch.long, device=queries.device)
    for part, logits in _logits(queries, keys, columns, 1 / temperature):
        found = logits.topk(min(k, logits.shape[1]), dim=1)
        scores = torch.cat([best, found.values], dim=1)
        where = torch.cat([index, found.indices + part.start], dim=1)
        best, order = scores.topk(min(k, scores.shape[1]), dim=1)
        index = where.gather(1, order)
    weights = best.softmax(dim=1)
    reads = []
    for value in values:
        read = torch.zeros(n, value.shape[1], device=queries.device)
        for column in range(index.shape[1]):
            rows = value[index[:, column].to(value.device)].to(queries.device, torch.float32)
            read.addcmul_(weights[:, column, None], rows)
        reads.append(read)
    return reads


def _logits(queries: Tensor, keys: Tensor, columns: int, scale: float) -> Iterator[tuple[slice, Tensor]]:
    """Scaled similarities to one block of keys after another, float32, in one reused buffer."""
    scaled = queries * scale if queries.dtype == torch.float32 else queries
    buffer = torch.empty(len(queries) * min(columns, len(keys)), device=queries.device)
    for start in range(0, len(keys), columns):
        part = slice(start, min(start + columns, len(keys)))
        block = keys[part].to(queries)
        if queries.dtype == torch.float32:
            logits = buffer[: len(queries) * len(block)].view(len(queries), len(block))
            torch.mm(scaled, block.T, out=logits)
        else:
            # Scaled after the product: 100 q in bfloat16 would round the logits by up to 0.2.
            logits = torch.mm(queries, block.T, out_dtype=torch.float32).mul_(scale)
        yield part, logits

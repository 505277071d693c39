"""Extraction: examples through a frozen encoder into a feature set, in shards that survive a kill.

Beside the output directory, `<output>.shards` holds `plan.json` (what is being made, of what) and one
directory a finished shard, each put in place by one rename. Whatever ends the process, the next call with
the same plan goes on with the first shard that is not there, and the feature set itself appears whole, with
`skipped.jsonl` and the plan in it, when all are.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from itertools import islice
from math import ceil
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.lib.format import open_memmap
from pydantic import BaseModel, ConfigDict, ValidationError

from connectors.encoder import Encoder
from connectors.errors import ConfigError
from connectors.modality import Modality
from connectors.staged_directory import staged_directory
from training.encoding import EncodedBatch, encoded_batches
from training.examples import Example
from training.feature_set import (
    ITEMS_FILE,
    MANIFEST_FILE,
    VECTORS_FILE,
    EncoderReference,
    FeatureSet,
    FeatureSetManifest,
    Item,
    items_bytes,
    open_feature_set,
)

PLAN_FILE, SKIPPED_FILE = "plan.json", "skipped.jsonl"


class Plan(BaseModel):
    """All that decides the vectors. A run goes on from another's shards only where the plans are equal."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["isthmus.extraction/1"] = "isthmus.extraction/1"
    space: str
    modality: Modality
    encoder: EncoderReference
    dtype: Literal["float16", "float32"]
    shard_size: int
    examples: int
    examples_sha256: str


def extract(
    encoder: Encoder,
    modality: Modality,
    examples: Sequence[Example],
    output: Path,
    *,
    space: str,
    root: Path | None = None,
    dtype: Literal["float16", "float32"] = "float32",
    shard_size: int = 1024,
    batch_size: int = 32,
    workers: int = 2,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> FeatureSet:
    """Make the feature set `output`, or go on making it.

    Paths in it are relative to `root`. Examples that cannot be used are left out and listed in
    `skipped.jsonl`. `on_progress` is told how many examples are done, of how many, beginning with those
    of earlier runs.
    Raises `ConfigError` where `output` or its shards come from another plan, or nothing could be used.
    """
    items = [example.item(root) for example in examples]
    plan = Plan(
        space=space,
        modality=modality,
        encoder=EncoderReference(name=encoder.name, fingerprint=encoder.fingerprint),
        dtype=dtype,
        shard_size=shard_size,
        examples=len(examples),
        examples_sha256=hashlib.sha256(items_bytes(items)).hexdigest(),
    )
    shards = output.with_name(f"{output.name}.shards")
    if output.exists():
        _check_plan(output, plan)
        shutil.rmtree(shards, ignore_errors=True)  # a kill may have come between the last two steps
        on_progress(len(examples), len(examples))
        return open_feature_set(output)
    if (shards / PLAN_FILE).exists():
        _check_plan(shards, plan)
    shards.mkdir(parents=True, exist_ok=True)
    _write_atomically(shards / PLAN_FILE, plan.model_dump_json(indent=2) + "\n")

    ranges = [range(i, min(i + shard_size, len(items))) for i in range(0, len(items), shard_size)]
    pending = [(n, rows) for n, rows in enumerate(ranges) if not _shard(shards, n).exists()]
    done = len(items) - sum(len(rows) for _, rows in pending)
    on_progress(done, len(items))
    upcoming = (part for _, rows in pending for part in _batches(examples, rows, batch_size))
    with closing(encoded_batches(encoder, modality, upcoming, workers=workers)) as encoded:
        for number, rows in pending:
            batches = []
            for batch in islice(encoded, ceil(len(rows) / batch_size)):
                batches.append(batch)
                done += len(batch.examples) + len(batch.skipped)
                on_progress(done, len(items))
            _write_shard(_shard(shards, number), batches, dtype, root)
    return _assemble(shards, len(ranges), output, plan, encoder.dim)


def _batches(examples: Sequence[Example], rows: range, size: int) -> Iterator[Sequence[Example]]:
    for start in range(rows.start, rows.stop, size):
        yield examples[start : min(start + size, rows.stop)]


def _shard(shards: Path, number: int) -> Path:
    return shards / f"{number:06d}"


def _write_shard(path: Path, batches: Sequence[EncodedBatch], dtype: str, root: Path | None) -> None:
    kept = [example.item(root) for batch in batches for example in batch.examples]
    skipped = [
        {**skip.example.item(root), "error": skip.code, "message": skip.message}
        for batch in batches
        for skip in batch.skipped
    ]
    with staged_directory(path) as staging:
        vectors = np.concatenate([batch.vectors.numpy() for batch in batches])
        np.save(staging / VECTORS_FILE, vectors.astype(dtype))
        (staging / ITEMS_FILE).write_bytes(items_bytes(kept))
        (staging / SKIPPED_FILE).write_bytes(items_bytes(skipped))


def _assemble(shards: Path, count: int, output: Path, plan: Plan, dim: int) -> FeatureSet:
    """Join the shards into the feature set, without holding it in memory."""
    parts = [_shard(shards, number) for number in range(count)]
    sizes = [len(np.load(part / VECTORS_FILE, mmap_mode="r")) for part in parts]
    if not sum(sizes):
        first = _first_skipped(parts)
        raise ConfigError(
            f"none of {plan.examples} items could be used; the first: {first['message']}. "
            f"Delete {shards} before trying again"
        )
    staging = shards / "joined"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir()
    joined = open_memmap(  # type: ignore[no-untyped-call]
        staging / VECTORS_FILE, mode="w+", dtype=plan.dtype, shape=(sum(sizes), dim)
    )
    start = 0
    digest = hashlib.sha256()
    with (staging / ITEMS_FILE).open("wb") as items, (staging / SKIPPED_FILE).open("wb") as skipped:
        for part, size in zip(parts, sizes, strict=True):
            joined[start : start + size] = np.load(part / VECTORS_FILE)
            start += size
            kept = (part / ITEMS_FILE).read_bytes()
            items.write(kept)
            digest.update(kept)
            skipped.write((part / SKIPPED_FILE).read_bytes())
    joined.flush()
    manifest = FeatureSetManifest(
        space=plan.space,
        modality=plan.modality,
        encoder=plan.encoder,
        dim=dim,
        count=sum(sizes),
        dtype=plan.dtype,
        items_sha256=digest.hexdigest(),
    )
    (staging / MANIFEST_FILE).write_text(manifest.model_dump_json(indent=2) + "\n")
    shutil.copy(shards / PLAN_FILE, staging / PLAN_FILE)
    staging.rename(output)
    shutil.rmtree(shards)
    return open_feature_set(output)


def read_skipped(directory: Path) -> list[dict[str, Any]]:
    """The items an extraction left out, each with `error` and `message`."""
    return [json.loads(line) for line in (directory / SKIPPED_FILE).read_bytes().splitlines()]


def _first_skipped(parts: Sequence[Path]) -> Item:
    return next(skip for part in parts for skip in read_skipped(part))


def _check_plan(directory: Path, plan: Plan) -> None:
    """Raise `ConfigError` unless what is in `directory` was made by the same plan."""
    try:
        found = Plan.model_validate_json((directory / PLAN_FILE).read_bytes())
    except (OSError, ValidationError) as error:
        raise ConfigError(
            f"{directory} exists and was not made by `isthmus features`: choose another output"
        ) from error
    old, new = found.model_dump(), plan.model_dump()
    changed = [key for key in new if new[key] != old[key]]
    if changed:
        told = "; ".join(f"{key} was {old[key]}, is {new[key]}" for key in changed)
        raise ConfigError(
            f"{directory} was made of something else ({told}): choose another output, or delete it"
        )


def _write_atomically(path: Path, text: str) -> None:
    scratch = path.with_name(f".{path.name}")
    scratch.write_text(text)
    scratch.replace(path)

"""Feature sets: stored native vectors of one modality from one frozen encoder, one row an item.

A feature set is a directory: `manifest.json`, `vectors.npy` [N, dim] (L2-normalised, float16 or float32,
memory-mappable) and `items.jsonl`, one object a row. `items_sha256` in the manifest is the sha256 of
items.jsonl's bytes, so two sets of the *same items* in two spaces carry the same hash.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from connectors.errors import ConfigError, IntegrityError, MissingFiles
from connectors.modality import Modality
from connectors.staged_directory import staged_directory

MANIFEST_FILE, VECTORS_FILE, ITEMS_FILE = "manifest.json", "vectors.npy", "items.jsonl"

Item = dict[str, Any]
"""One row of items.jsonl: `id`, `source` (a file) or `text`; `label` and `group` where they are known."""


class EncoderReference(BaseModel):
    """Which frozen encoder made the vectors."""

    model_config = ConfigDict(extra="forbid")

    name: str
    fingerprint: str


class FeatureSetManifest(BaseModel):
    """What `manifest.json` holds."""

    model_config = ConfigDict(extra="forbid")

    format: Literal["isthmus.features/1"] = "isthmus.features/1"
    space: str
    modality: Modality
    encoder: EncoderReference
    dim: int = Field(gt=0)
    count: int = Field(ge=0)
    dtype: Literal["float16", "float32"]
    items_sha256: str


@dataclass(frozen=True)
class FeatureSet:
    """An opened feature set; `vectors` stays on disk until it is read."""

    path: Path
    manifest: FeatureSetManifest
    vectors: npt.NDArray[np.floating[Any]]

    def __len__(self) -> int:
        return self.manifest.count

    @cached_property
    def items(self) -> list[Item]:
        """The rows of items.jsonl, in the order of the vectors."""
        return [json.loads(line) for line in (self.path / ITEMS_FILE).read_bytes().splitlines()]

    def tensor(self) -> Tensor:
        """Every vector in memory: float32 [N, dim]."""
        return torch.from_numpy(np.array(self.vectors, dtype=np.float32))


def items_bytes(items: Sequence[Item]) -> bytes:
    """The one way items are written: compact JSON, UTF-8, a newline after each."""
    lines = (json.dumps(item, ensure_ascii=False, separators=(",", ":")) for item in items)
    return "".join(line + "\n" for line in lines).encode()


def open_feature_set(directory: Path | str, *, verify: bool = True) -> FeatureSet:
    """Open a feature set without reading its vectors.

    Raises `MissingFiles`, `ConfigError` (manifest), or `IntegrityError` where `verify` finds that
    vectors or items are not what the manifest says.
    """
    path = Path(directory)
    absent = [n for n in (MANIFEST_FILE, VECTORS_FILE, ITEMS_FILE) if not (path / n).is_file()]
    if absent:
        raise MissingFiles(
            f"{path} is not a feature set ({', '.join(absent)} not found in it): make one with "
            "`isthmus features`"
        )
    try:
        manifest = FeatureSetManifest.model_validate_json((path / MANIFEST_FILE).read_bytes())
    except ValidationError as error:
        raise ConfigError(f"{path / MANIFEST_FILE} is not a manifest: {error}") from error
    try:
        vectors = np.load(path / VECTORS_FILE, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError) as error:
        raise IntegrityError(f"{path / VECTORS_FILE} cannot be read: {error}") from error
    if verify:
        declared = ((manifest.count, manifest.dim), manifest.dtype)
        if (vectors.shape, str(vectors.dtype)) != declared:
            raise IntegrityError(
                f"{path / VECTORS_FILE} holds {vectors.dtype} {vectors.shape}, "
                f"its manifest says {declared[1]} {declared[0]}"
            )
        digest = hashlib.sha256((path / ITEMS_FILE).read_bytes()).hexdigest()
        if digest != manifest.items_sha256:
            raise IntegrityError(f"{path / ITEMS_FILE} is not the file its manifest was written for")
    return FeatureSet(path, manifest, vectors)


def write_feature_set(
    directory: Path | str,
    *,
    space: str,
    modality: Modality,
    encoder: EncoderReference,
    vectors: Tensor,
    items: Sequence[Item],
    dtype: Literal["float16", "float32"] = "float32",
) -> FeatureSet:
    """Write vectors [N, dim] held in memory as a feature set, whole or not at all.

    Raises `ConfigError` where items and vectors differ in number.
    """
    if len(items) != len(vectors):
        raise ConfigError(f"{len(items)} items for {len(vectors)} vectors: one item a row")
    written = items_bytes(items)
    manifest = FeatureSetManifest(
        space=space,
        modality=modality,
        encoder=encoder,
        dim=vectors.shape[1],
        count=len(vectors),
        dtype=dtype,
        items_sha256=hashlib.sha256(written).hexdigest(),
    )
    with staged_directory(directory) as staging:
        np.save(staging / VECTORS_FILE, vectors.cpu().numpy().astype(dtype))
        (staging / ITEMS_FILE).write_bytes(written)
        (staging / MANIFEST_FILE).write_text(manifest.model_dump_json(indent=2) + "\n")
    return open_feature_set(directory)


def unit_rows(name: str, vectors: Tensor) -> Tensor:
    """Check native vectors and give them as float32 [N, dim], exactly of unit length.

    Raises `ConfigError` for fewer than two rows, values that are not finite, or zero vectors.
    """
    if vectors.ndim != 2 or len(vectors) < 2:
        shape = list(vectors.shape)
        raise ConfigError(f"{name} has shape {shape}: need [items, dimensions] with two items or more")
    vectors = vectors.float()
    lengths = vectors.norm(dim=1)
    bad = (~lengths.isfinite() | (lengths == 0)).nonzero().flatten()
    if len(bad):
        raise ConfigError(
            f"{name}: {len(bad)} of {len(vectors)} vectors are zero or hold NaN or infinity, the first "
            f"at row {int(bad[0])}; extract these features again"
        )
    unit: Tensor = vectors / lengths[:, None]
    return unit

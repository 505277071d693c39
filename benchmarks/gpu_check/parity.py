"""Parity: an encoder's vectors in each number format against float64, alone and in batches.

The reference is float64 on the same device, itself compared with the CPU's. Errors are |v - r| / |r| of unit
vectors, the worst of all items and batch sizes.
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from benchmarks._rows import at_least, at_most
from benchmarks.gpu_check import card
from benchmarks.gpu_check.encoders import FORMATS, ON_CPU, copy_in, made, prepared
from benchmarks.gpu_check.findings import Note, largest
from benchmarks.gpu_check.steps import Found, Scene, Step
from connectors.encoder import Prepared, TowerEncoder

MOST_ERROR = {"float32": 1e-4, "tf32": 0.01, "bfloat16": 0.04, "float16": 0.01}
LEAST_COSINE = {"float32": 0.99999, "tf32": 0.999, "bfloat16": 0.999, "float16": 0.999}
AGAINST_CPU = {"text": 1e-5, "image": 1e-5, "audio": 1e-5, "point_cloud": 0.01}
"""Groups of points are formed in float32 always, where two points may be as near as each other."""
EXACT_BATCH = 8
"""Items a batch in float64."""


def steps(names: Sequence[str]) -> list[Step]:
    """A step for each encoder named."""
    return [Step(f"parity, {name}", partial(parity, name), least=15, most=50) for name in names]


def parity(name: str, scene: Scene) -> Found:
    """Every tower of one encoder in every format."""
    sizes = scene.sizes
    encoder = made(name, sizes.blocks)
    samples = {each: prepared(encoder, each, sizes.parity_items) for each in encoder.modalities}
    with card.tf32(False):
        exact = copy_in(encoder, scene.device, torch.float64)
        references = {each: _exact(exact, items) for each, items in samples.items()}
        del exact
        card.give_back(scene.device)
    told = {each: f"{name} {each}{sizes.said}" for each in samples}
    for each, reference in references.items() if scene.on_card else ():
        few = samples[each][: sizes.compared_on_cpu]
        error = _error(_exact(copy_in(encoder, "cpu", torch.float64), few), reference[: len(few)])
        most = AGAINST_CPU[each]
        yield at_most(f"{told[each]}: float64 here against the CPU's", error, "relative error", most)
    for name_of_format, (dtype, tf32) in FORMATS.items():
        if not scene.on_card and name_of_format not in ON_CPU:
            yield Note(f"{name}{sizes.said}, {name_of_format}", "needs a GPU")
        elif scene.left() <= 0:
            yield Note(f"{name}{sizes.said}, {name_of_format}", "not measured: the time is over")
        else:
            placed = copy_in(encoder, scene.device, dtype)
            for each, items in samples.items():
                with card.tf32(tf32):
                    yield from _compared(
                        f"{told[each]}, {name_of_format}",
                        name_of_format,
                        placed,
                        items,
                        references[each],
                        scene,
                    )
            del placed
            card.give_back(scene.device)


def _compared(
    label: str,
    kind: str,
    encoder: TowerEncoder,
    items: Sequence[Prepared],
    reference: Tensor,
    scene: Scene,
) -> Found:
    """Error and cosine over all batch sizes, and how a vector differs alone and in the largest batch."""
    errors: list[float] = []
    angles: list[float] = []
    differ = float("nan")
    alone = torch.cat([encoder.encode_prepared([item]) for item in items])
    for batch in scene.sizes.parity_batches:
        try:
            vectors = alone if batch == 1 else _in_batches(encoder, items, batch)
        except torch.OutOfMemoryError as problem:
            del problem
            card.give_back(scene.device)
            yield Note(f"{label}: a batch of {batch}", "does not fit in the card's memory")
            continue
        errors.append(_error(vectors, reference))
        angles.append(float((1 - (vectors.double() * reference).sum(1)).max()))
        differ = _error(vectors, alone)
    sizes = f"batches of {scene.sizes.parity_batches[0]} to {scene.sizes.parity_batches[-1]}"
    yield at_most(f"{label}: {sizes}", largest(errors), "relative error", MOST_ERROR[kind])
    yield at_least(f"{label}: {sizes}", 1 - largest(angles), "least cosine", LEAST_COSINE[kind])
    yield at_most(f"{label}: alone and in the largest batch", differ, "relative error", MOST_ERROR[kind])


def _in_batches(encoder: TowerEncoder, items: Sequence[Prepared], batch: int) -> Tensor:
    """Vectors of all items, from batches of exactly this size, filled up with the same items again."""
    found = []
    for start in range(0, len(items), batch):
        part = [items[(start + i) % len(items)] for i in range(batch)]
        found.append(encoder.encode_prepared(part)[: len(items) - start])
    return torch.cat(found)


def _exact(encoder: TowerEncoder, items: Sequence[Prepared]) -> Tensor:
    """Unit vectors in float64, a few items at a time."""
    found = []
    for start in range(0, len(items), EXACT_BATCH):
        part = items[start : start + EXACT_BATCH]
        rows = encoder.collate(part[0].modality, [item.rows for item in part]).to(encoder.device)
        with torch.inference_mode():
            vectors = encoder.embed_rows(part[0].modality, rows)
        found.append(torch.nn.functional.normalize(vectors.double(), dim=-1).cpu())
    return torch.cat(found)


def _error(vectors: Tensor, reference: Tensor) -> float:
    """The worst |v - r| / |r| of all rows."""
    vectors, reference = vectors.double(), reference.double()
    return float(((vectors - reference).norm(dim=1) / reference.norm(dim=1)).max())

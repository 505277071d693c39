"""Training: aggregation at the papers' scale, one step of each method, and whole runs on random features."""

import gc
import time
from collections.abc import Mapping
from functools import partial
from math import inf

import torch
from torch import Tensor

from benchmarks._rows import Row, at_least, at_most
from benchmarks.gpu_check import card, products
from benchmarks.gpu_check.findings import Note
from benchmarks.gpu_check.sizes import Sizes
from benchmarks.gpu_check.steps import Found, Scene, Step
from training.aggregation import aggregate
from training.cmcr import CMCR
from training.connection import connect
from training.exmcr import ExMCR
from training.parallel import Group
from training.pseudo_pair_store import PseudoPairStore
from training.pseudo_pairs import PseudoPairs
from training.recipe import Recipe, load_recipe
from training.trainer import Progress, Trainer

PRECISIONS = ("bfloat16", "float32")
AGGREGATION_GOAL, STEP_GOAL = 0.8, 0.6
MOST_SECONDS = 60.0
RATE = "of the products' rate"
SHARES = (1.0, 0.5, 0.25, 0.1, 0.05, 0.02)
"""Shares of the papers' items that a run is tried with: the largest there is time for."""
MARGIN = 1.5
"""Factor by which a run is given longer than planned."""
HOST_ROW_SECONDS = 25e-6
"""Cost of an item on the CPU beside the card: copies, closed forms. A guess, to plan with."""

PART_OF_TIME = {"cmcr-paper": 0.4, "exmcr-paper": 0.9}
"""Of the time that is left, what each run may take."""
RUN_PRECISION = "bfloat16"
PART = 262_144
"""Vectors made at a time."""
POOL = 10
"""Batches of pseudo-pairs there are to gather one from."""

seconds_a_pair: dict[str, float] = {}
"""Measured time of aggregation of a query and a memory, by precision."""
seconds_a_row: dict[str, float] = {}
"""Measured time of a step, a row, by recipe."""


def steps() -> list[Step]:
    """Aggregation and the steps."""
    return [
        Step("aggregation", aggregation, least=20, most=60),
        Step("training steps", training_steps, least=15, most=40),
    ]


def run_steps() -> list[Step]:
    """The whole runs, which take what time they are given."""
    return [
        Step(f"a whole run of {name}", partial(whole_run, name), least=25, most=inf)
        for name in ("cmcr-paper", "exmcr-paper")
    ]


def aggregation(scene: Scene) -> Found:
    """Queries of one batch ask all memories, which lie on the device."""
    sizes = scene.sizes
    shape = f"{sizes.queries:,} queries x {sizes.memories:,} memories of {sizes.dim}"
    for precision in PRECISIONS:
        dtype = getattr(torch, precision)
        queries = products.unit(sizes.queries, sizes.dim, scene.device, dtype)
        keys = products.unit(sizes.memories, sizes.dim, scene.device, dtype)
        work = partial(aggregate, queries, keys, keys, dtype=dtype)
        card.forget_peak(scene.device)
        before = card.held_bytes(scene.device)
        work()
        peak = card.peak_bytes(scene.device)
        alone, taken = card.best_seconds(scene.device, 2, products.of_aggregation(queries, keys), work)
        seconds_a_pair[precision] = taken / sizes.queries / sizes.memories
        name = f"aggregation, {precision}, {shape}"
        yield at_most(name, taken, "s", MOST_SECONDS)
        yield Row(f"{name}: its products alone", alone, "s")
        operations = 4 * sizes.queries * sizes.memories * sizes.dim
        yield Row(f"{name}: its products alone", operations / alone / 1e12, "TFLOP/s")
        if scene.on_card:
            yield at_least(f"{name}: rate", alone / taken, RATE, AGGREGATION_GOAL)
        if peak is not None:
            yield Row(f"{name}: memory beside the vectors", (peak - before) / 2**30, "GiB")
        del queries, keys, work
        card.give_back(scene.device)


def training_steps(scene: Scene) -> Found:
    """A step of each method in each precision beside its own products."""
    sizes, device = scene.sizes, scene.device
    pool = PseudoPairs(*(products.unit(POOL * sizes.step_rows, sizes.dim, "cpu") for _ in range(4)))
    index = torch.randperm(len(pool))[: sizes.step_rows]
    (gathered,) = card.best_seconds(device, 3, lambda: pool.rows(index).to(device))
    yield Row(f"{sizes.step_rows:,} pseudo-pairs gathered on the CPU and copied", 1000 * gathered, "ms")
    for name in ("exmcr-paper", "cmcr-paper"):
        for precision in PRECISIONS:
            recipe = _recipe(name, sizes, precision, batch_size=sizes.step_rows)
            trainer = _trainer(recipe, sizes, device)
            of_step = products.of_cmcr_step if recipe.method == "cmcr" else products.of_exmcr_step
            turns = iter(range(trainer.steps))
            alone, taken = card.best_seconds(
                device,
                min(sizes.step_rounds, trainer.steps - 1),
                of_step(recipe, sizes.step_rows, sizes.dim, device),
                lambda t=trainer, n=turns: t.step(next(n)),
            )
            if precision == RUN_PRECISION:
                seconds_a_row[name] = (taken + gathered) / sizes.step_rows
            label = f"a step of {sizes.step_rows:,}, {name}, {precision}"
            yield Row(label, 1000 * taken, "ms")
            yield Row(f"{label}: its products alone", 1000 * alone, "ms")
            if scene.on_card:
                yield at_least(f"{label}: rate", alone / taken, RATE, STEP_GOAL)
            del trainer


def whole_run(name: str, scene: Scene) -> Found:
    """Pseudo-pairs, training and closed forms, as `isthmus train` has them, but for files and evaluation.

    All of the papers' items where there is time, else a share of them; pools and projectors are in bfloat16.
    """
    if scene.on_card and not seconds_a_row:
        yield from aggregation(scene)
        yield from training_steps(scene)
    sizes = scene.sizes
    epochs = {} if sizes.epochs is None else {"epochs": sizes.epochs}
    recipe = _recipe(name, sizes, RUN_PRECISION, **epochs)
    ends = time.monotonic() + PART_OF_TIME[name] * scene.left()
    plans = {share: _planned(recipe, name, sizes, share) for share in SHARES}
    share = 1.0
    if scene.on_card:
        share = next((s for s in SHARES if plans[s] * MARGIN < ends - time.monotonic()), SHARES[-1])
    texts, images, sounds = (
        round(share * count) for count in (sizes.paper_texts, sizes.paper_images, sizes.paper_sounds)
    )
    label = f"{name}, {texts:,} texts, {images:,} pictures, {sounds:,} sounds, {recipe.optim.epochs} epochs"
    torch.manual_seed(0)
    features = {
        "clip/text": _on_host(texts, scene),
        "clap/text": _on_host(texts, scene),
        "clip/image": _on_host(images, scene),
        "clap/audio": _on_host(sounds, scene),
    }
    times: list[float] = []
    steps = 0

    def on_step(progress: Progress) -> None:
        nonlocal steps
        steps = progress.steps
        times.append(time.monotonic())
        if scene.on_card and time.monotonic() > ends:
            raise TimeoutError(f"stopped after {progress.step:,} of {progress.steps:,} steps")

    started = time.monotonic()
    try:
        store = PseudoPairStore(None, scene.device)
        connect(recipe, features, store=store, device=scene.device, group=Group(), on_step=on_step)
    except TimeoutError as error:
        yield Note(label, str(error))
    else:
        yield Row(f"{label}: the whole run", time.monotonic() - started, "s")
    del features
    gc.collect()
    if times:
        yield Row(f"{label}: closed forms and pseudo-pairs", times[0] - started, "s")
    if len(times) > 1:
        each = (times[-1] - times[0]) / (len(times) - 1)
        yield Row(
            f"{label}: a step of {min(recipe.optim.batch_size, texts):,}, of {steps:,}", 1000 * each, "ms"
        )
    if scene.on_card and plans[1.0]:
        yield Row(
            f"{name}, all of the papers' items, planned from the rates above", plans[1.0] / 60, "minutes"
        )


def _recipe(name: str, sizes: Sizes, precision: str, **optim: object) -> Recipe:
    """A shipped recipe in a precision, with hidden layers twice as wide as vectors and other [optim]s."""
    return load_recipe(
        name,
        {
            "optim": {"precision": precision, **optim},
            "pseudo_pairs": {"precision": precision},
            "projector": {"hidden": 2 * sizes.dim},
        },
    )


def _on_host(rows: int, scene: Scene) -> Tensor:
    """Random unit vectors in the host's memory, where feature sets are read to; made on the device."""
    parts = []
    for start in range(0, rows, PART):
        parts.append(products.unit(min(PART, rows - start), scene.sizes.dim, scene.device).cpu())
    return torch.cat(parts)


def _trainer(recipe: Recipe, sizes: Sizes, device: str) -> Trainer:
    """A trainer over one batch of random pairs."""
    kind = CMCR if recipe.method == "cmcr" else ExMCR
    model = kind(sizes.dim, sizes.dim, recipe.projector, recipe.loss).to(device).train()
    pairs = PseudoPairs(*(products.unit(sizes.step_rows, sizes.dim, device) for _ in range(4)))
    return Trainer(model, pairs, recipe.optim, group=Group())


def _planned(recipe: Recipe, name: str, sizes: Sizes, share: float) -> float:
    """Seconds that a run with a share of the papers' items takes, at the rates found; 0 if there are none."""
    if RUN_PRECISION not in seconds_a_pair or name not in seconds_a_row:
        return 0.0
    texts, images, sounds = sizes.paper_texts, sizes.paper_images, sizes.paper_sounds
    pairs: Mapping[str, float] = {
        "overlap": texts * (images + sounds),
        "leaf": sounds * (1.5 * texts + images),  # similarities to texts once, texts read twice
        "base": images * (1.5 * texts + sounds),
    }
    asking = {"overlap": texts, "leaf": sounds, "base": images}
    queries = recipe.pseudo_pairs.queries
    pools = share**2 * sum(pairs[each] for each in queries) * seconds_a_pair[RUN_PRECISION]
    rows = share * sum(asking[each] for each in queries)
    host = share * (texts + images + sounds) * HOST_ROW_SECONDS
    return pools + rows * recipe.optim.epochs * seconds_a_row[name] + host

"""What training costs: memory aggregation and a training step against their matrix products alone.

    python benchmarks/training.py [--quick] [--json] [--device cpu|cuda]

Every comparison is measured side by side, taking turns, in this run. The paper-scale job (2.33 M texts,
memories of 1.3 M and 1.8 M, 512 dimensions) is planned from the rates measured; on a GPU its largest
aggregation is run as well, unless --quick.
"""

# ruff: noqa: E402
import sys
from pathlib import Path

# Started as a script, this file's folder comes first in the path and would hide the package it measures.
HERE = Path(__file__).resolve().parent
sys.path[:] = [str(HERE.parent), *(entry for entry in sys.path if Path(entry).resolve() != HERE)]

import argparse
import subprocess
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional as F

from benchmarks._rows import Row, at_least, machine, parser, publish
from training.aggregation import BLOCKS, aggregate
from training.exmcr import ExMCR
from training.parallel import Group
from training.pseudo_pairs import PseudoPairs
from training.recipe import load_recipe
from training.trainer import Trainer

DIM = 512
TEXTS, IMAGES, AUDIOS = 2_330_000, 1_300_000, 1_800_000
RATE = "of the products' rate"


def best_seconds(device: str, rounds: int, *works: Callable[[], object]) -> list[float]:
    """The best time of each work after a warm-up; they take turns, so a busy moment hits all alike."""
    best = [float("inf")] * len(works)
    for turn in range(rounds + 1):
        for index, work in enumerate(works):
            begun = time.perf_counter()
            work()
            if device == "cuda":
                torch.cuda.synchronize()
            if turn:
                best[index] = min(best[index], time.perf_counter() - begun)
    return best


def unit(rows: int, device: str) -> torch.Tensor:
    """Random unit vectors."""
    return F.normalize(torch.randn(rows, DIM, device=device), dim=1)


def aggregation(device: str, quick: bool) -> list[Row]:
    """agg(q, K, K) and the two plain fp32 products of the same size."""
    n, m = (2048, 8192) if quick else (4096, 65_536)
    if device == "cuda":
        n, m = (16_384, 131_072) if quick else (65_536, 524_288)
    queries, keys = unit(n, device), unit(m, device)
    flops = 4 * n * m * DIM
    # The plain product too is taken in parts where its n x m result would be too large to hold.
    part = min(n, 2**32 // (4 * m))
    logits = torch.empty(part, m, device=device)

    def plain() -> None:
        for start in range(0, n, part):
            block = queries[start : start + part]
            torch.mm(block, keys.T, out=logits[: len(block)])
            torch.mm(logits[: len(block)], keys)

    variants: dict[str, dict[str, Any]] = {
        "soft": {},
        "top-8": {"weighting": "top_k"},
        "hard": {"weighting": "hard"},
    }
    if device == "cuda":
        variants["soft, bf16"] = {"dtype": torch.bfloat16}
    works = [lambda o=options: aggregate(queries, keys, keys, **o) for options in variants.values()]
    product, *times = best_seconds(device, 2 if quick else 3, plain, *works)
    rows = [Row("plain fp32 products", flops / product / 1e9, "GFLOP/s")]
    for name, taken in zip(variants, times, strict=True):
        # The nearest alone need no second product.
        done = flops if name.startswith("soft") else flops / 2
        rows.append(Row(f"aggregation, {name}", done / taken / 1e9, "GFLOP/s"))
        if name == "soft":
            rows.append(at_least("aggregation, soft, rate", product / taken, RATE, 0.8))
    return rows


def peak_memory(device: str, quick: bool) -> list[Row]:
    """Peak of fresh processes that aggregate over few and many keys, past their inputs."""
    sizes = (4096, 32_768) if quick else (16_384, 131_072)
    peaks = []
    for m in sizes:
        command = [sys.executable, __file__, "--peak", str(m), "--device", device]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks.append(float(done.stdout))
    rows, columns = BLOCKS[device]
    block = 4 * rows * columns / 2**20
    growth = peaks[1] - peaks[0]
    return [
        Row(f"peak memory, 4,096 queries x {sizes[0]:,} keys", peaks[0], "MiB"),
        Row(f"peak memory, 4,096 queries x {sizes[1]:,} keys", peaks[1], "MiB"),
        Row("one matrix of those logits", 4 * 4096 * sizes[1] / 2**20, "MiB"),
        Row("growth with 8 x the keys", growth, "MiB", f"<= 2 blocks ({2 * block:.0f})", growth <= 2 * block),
    ]


def print_peak(m: int, device: str) -> None:
    """What --peak does: MiB an aggregation takes at most, beyond what was there before."""
    queries, keys = unit(4096, device), unit(m, device)
    aggregate(queries[:8], keys[:8], keys[:8])
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        aggregate(queries, keys, keys)
        print((torch.cuda.max_memory_allocated() - before) / 2**20)
        return
    # Linux forgets the peak that building the inputs reached when told so.
    Path("/proc/self/clear_refs").write_text("5")
    before = _high_water()
    aggregate(queries, keys, keys)
    print((_high_water() - before) / 2**10)


def _high_water() -> int:
    """Peak resident memory of this process in KiB, from Linux."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])


def training_step(device: str, quick: bool) -> tuple[list[Row], float]:
    """A whole Ex-MCR step as published, and the matrix products it cannot do without."""
    batch = 1024 if quick else 4096
    recipe = load_recipe("exmcr-paper", {"optim": {"batch_size": batch}})
    model = ExMCR(DIM, DIM, recipe.projector, recipe.loss).to(device)
    pairs = PseudoPairs(*(unit(batch, device) for _ in range(4)))
    trainer = Trainer(model, pairs, recipe.optim, group=Group())
    model.train()
    x, both = unit(batch, device), unit(2 * batch, device)
    wide = torch.randn(2 * batch, 2 * DIM, device=device)
    square, up = torch.randn(DIM, DIM, device=device), torch.randn(DIM, 2 * DIM, device=device)
    down = torch.randn(2 * DIM, DIM, device=device)
    logits = torch.randn(batch, batch, device=device)

    def products() -> None:
        torch.mm(x, square)  # f_l, and its weight's gradient
        torch.mm(x.T, x)
        for _ in range(recipe.projector.layers):  # f_m on both modalities: forward, two gradients
            torch.mm(both, up)
            torch.mm(both.T, wide)
            torch.mm(wide, down)
            torch.mm(wide, down)
            torch.mm(wide.T, both)
            torch.mm(both, up)
        for _ in recipe.loss.contrasts:  # logits, and the gradient of the leaf's side
            torch.mm(x, x.T)
            torch.mm(logits, x)

    steps = iter(range(recipe.optim.epochs))
    alone, whole = best_seconds(device, 3, products, lambda: trainer.step(next(steps)))
    rows = [
        Row(f"training step, batch {batch:,}", whole * 1e3, "ms"),
        Row("its matrix products alone", alone * 1e3, "ms"),
        at_least("training step, rate", alone / whole, RATE, 0.6),
    ]
    return rows, whole / batch


def plan(gflops: float, row_seconds: float) -> list[Row]:
    """The paper's job at the rates measured here."""
    pools = {
        "text": TEXTS * (IMAGES + AUDIOS),
        "audio": AUDIOS * (1.5 * TEXTS + IMAGES),  # similarities to texts once, texts read twice
        "image": IMAGES * (1.5 * TEXTS + AUDIOS),
    }
    hours = {name: 4 * DIM * pairs / gflops / 1e9 / 3600 for name, pairs in pools.items()}
    epochs = load_recipe("exmcr-paper").optim.epochs
    training = epochs * (TEXTS + IMAGES + AUDIOS) * row_seconds / 3600
    made = TEXTS * 2 + (AUDIOS + IMAGES) * 3
    return [
        *(Row(f"paper scale, planned: {name}-centric pool", h, "hours") for name, h in hours.items()),
        Row("paper scale, planned: pools on disk", made * DIM * 2 / 2**30, "GiB"),
        Row(f"paper scale, planned: training, {epochs} epochs", training, "hours"),
        Row("paper scale, planned: all", sum(hours.values()) + training, "hours"),
    ]


def paper_scale() -> list[Row]:
    """The paper's text-centric aggregation itself, where the GPU has room for it."""
    if torch.cuda.get_device_properties(0).total_memory < 24 * 2**30:
        return []
    queries, keys = (unit(rows, "cuda").bfloat16() for rows in (TEXTS, AUDIOS))
    begun = time.perf_counter()
    aggregate(queries, keys, keys, dtype=torch.bfloat16)
    torch.cuda.synchronize()
    minutes = (time.perf_counter() - begun) / 60
    return [Row("paper scale, run: 2.33 M texts ask 1.8 M sounds, bf16", minutes, "minutes")]


def main() -> None:
    """Measure, print the table, and with --json one object on the last line."""
    options_of = parser(__doc__, quick="smaller sizes, under a minute")
    options_of.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options_of.add_argument("--peak", type=int, help=argparse.SUPPRESS)
    options = options_of.parse_args()
    torch.manual_seed(0)
    if options.peak:
        print_peak(options.peak, options.device)
        return
    rows = aggregation(options.device, options.quick)
    rate = next(row.value for row in rows if row.name == "aggregation, soft")
    rows += peak_memory(options.device, options.quick)
    step, row_seconds = training_step(options.device, options.quick)
    rows += step + plan(rate, row_seconds)
    if options.device == "cuda" and not options.quick:
        rows += paper_scale()
    accelerator = {"accelerator": torch.cuda.get_device_name()} if options.device == "cuda" else {}
    about = machine(threads=torch.get_num_threads(), torch=torch.__version__, **accelerator)
    publish("training", rows, as_json=options.json, title=f"training on {options.device}", about=about)


if __name__ == "__main__":
    main()

"""Checks that only a GPU can make: parity, throughput, training and refresh on one card, in eight minutes.

    python benchmarks/gpu.py [--minutes 8] [--only parity ...] [--device cuda:0] [--json]
    make gpu-wheels && make gpu-check             on a machine that has torch and a GPU, and no network

Without a GPU, or with --quick, it takes the same steps on the CPU at a small size, and says so: what needs a
GPU has a row that says that. Every step is guarded: one that fails is a row, and the others go on. No setting
of the card is touched.
"""

# ruff: noqa: E402
import sys
from pathlib import Path

# Started as a script, this file's folder comes first in the path and would hide the packages it measures.
HERE = Path(__file__).resolve().parent
sys.path[:] = [str(HERE.parent), *(entry for entry in sys.path if Path(entry).resolve() != HERE)]

from collections.abc import Callable, Mapping

import connectors  # noqa: F401 - before torch: it sets how torch's threads wait

# isort: split
import torch

from benchmarks._rows import machine, parser
from benchmarks.gpu_check import (
    bundle,
    card,
    failed_batch,
    parity,
    ranks,
    raw_loop,
    refresh,
    serving,
    training,
)
from benchmarks.gpu_check.encoders import ENCODERS
from benchmarks.gpu_check.findings import Findings
from benchmarks.gpu_check.sizes import FULL, SMALL
from benchmarks.gpu_check.steps import Clock, Step, measure, watch


def groups(device: str) -> Mapping[str, Callable[[], list[Step]]]:
    """The steps by name, in the order they are taken: what is cheap and matters most comes first."""
    return {
        "parity": lambda: parity.steps(list(ENCODERS)),
        "failed-batch": failed_batch.steps,
        "raw-loop": raw_loop.steps,
        "service": lambda: serving.steps(device),
        "training": training.steps,
        "ranks": ranks.steps,
        "refresh": refresh.steps,
        "compiled": raw_loop.compiled_steps,
        "runs": training.run_steps,
    }


def main() -> int:
    """Measure, print the table, and with --json one object on the last line; 1 where a step failed."""
    options_of = parser(__doc__, quick="on the CPU at a small size, as without a GPU")
    options_of.add_argument("--minutes", type=float, default=8.0, help="what is not begun by then is skipped")
    options_of.add_argument("--device", help="cuda:0 where there is a GPU, else cpu")
    options_of.add_argument("--only", nargs="+", choices=groups("cpu"), help="these steps alone")
    options = options_of.parse_args()
    device = options.device or ("cuda:0" if torch.cuda.is_available() and not options.quick else "cpu")
    device = "cuda:0" if device == "cuda" else device
    small = options.quick or not card.is_card(device)
    findings, clock = Findings(), Clock(options.minutes)
    steps = [
        step
        for name, make in groups(device).items()
        if options.only is None or name in options.only
        for step in make()
    ]
    card.begin(device)
    about = machine(**card.about(device), small=small)
    title = (
        "gpu check"
        if not small
        else "gpu check: SMALL, ON THE CPU. It tells that the steps run, nothing more"
    )

    def publish() -> None:
        findings.publish(title, about, as_json=options.json)

    done = watch(clock, findings, publish)
    try:
        measure(steps, device, SMALL if small else FULL, clock, findings)
    finally:
        done()
        bundle.SCRATCH.cleanup()
    publish()
    return 1 if findings.failures else 0


if __name__ == "__main__":
    sys.exit(main())

"""The build: from the data folder to the shipped bundle, step by step.

Encoders are trained two at a time, one thread each; connectors, calibration and report follow.
Everything it leaves in the work folder is found again by a later run.
"""

import multiprocessing
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.resources import files
from pathlib import Path

import torch

from connectors.encoders.compact.encoder import CompactEncoder, load_compact
from training.compact.bundle_files import steps_of, write_encoders, write_manifest
from training.compact.links import LinkMaker
from training.compact.measurements import Measurements
from training.compact.plan import STAGES, Plan
from training.compact.report import write_report
from training.compact.score_curves import write_curves
from training.compact.spaces import SpaceMaker
from training.compact.workshop import Workshop, say

SPACES = ("clip", "clap", "ulip")
NOTES = ("intro", "limits", "tried")
"""What is said of the figures: files of `notes/`."""

SEEN, HEARD = ([f"{kind}-{k}" for k in range(STAGES[kind])] for kind in ("pictures", "sounds"))
LOTS = (
    (["picture-maps", "sound-maps"], ["words"]),
    ([*SEEN[:4], *SEEN[6:]], [*HEARD, "sounds", "sounds-refined", "clap", *SEEN[4:6]]),
    (["pictures", "pictures-refined", "picture-features"],),
    (["clip"], ["ulip"]),
)
"""Steps in their order: the lots of one line run side by side and share `THREADS`."""

THREADS = 2


def run_steps(data: Path, work: Path, plan: Plan, names: Sequence[str], threads: int) -> None:
    """Do steps in this process."""
    torch.set_num_threads(threads)
    shop = Workshop(data, work, plan)
    for name in names:
        alone: dict[str, Callable[[], object]] = {
            "words": shop.words,
            "picture-maps": partial(shop.maps, "pictures"),
            "sound-maps": partial(shop.maps, "sounds"),
            "pictures": partial(shop.joined, "pictures"),
            "sounds": partial(shop.joined, "sounds"),
            **{name: partial(shop.stage, "pictures", k) for k, name in enumerate(SEEN)},
            **{name: partial(shop.stage, "sounds", k) for k, name in enumerate(HEARD)},
        }
        if name in alone:
            alone[name]()
        else:
            maker = SpaceMaker(shop)
            steps: dict[str, Callable[[], object]] = {
                "pictures-refined": maker.refine_pictures,
                "sounds-refined": maker.refine_sounds,
                "picture-features": maker.picture_features,
                "clip": maker.clip,
                "clap": maker.clap,
                "ulip": maker.ulip,
            }
            steps[name]()


def train_encoders(shop: Workshop) -> None:
    """Do every step of `LOTS`."""
    context = multiprocessing.get_context("spawn")
    for lots in LOTS:
        workers = [
            context.Process(
                target=run_steps, args=(shop.data, shop.work, shop.plan, lot, THREADS // len(lots))
            )
            for lot in lots
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        if any(worker.exitcode != 0 for worker in workers):
            raise RuntimeError(f"one of the steps {lots} failed; its own message is above")


def build(data: Path, output: Path, work: Path, plan: Plan) -> None:
    """Make the bundle in `output`, keeping intermediate results in `work`."""
    shop = Workshop(data, work, plan)
    say(f"training on {len(shop.pictures[0])} pictures, {len(shop.clips[0])} clips, "
        f"{len(shop.clouds[0])} clouds; {len(shop.lexicon.rows)} words and phrases")  # fmt: skip
    train_encoders(shop)
    shutil.rmtree(output / "encoders", ignore_errors=True)
    write_encoders(shop, output)
    connect_encoders(shop, output, shop.spent())


def reconnect(data: Path, output: Path, work: Path, plan: Plan) -> None:
    """Make everything in `output` anew but its encoders: connectors, calibration, report, manifest.

    `build` does the same with them, so what this leaves is what `build` with the same plan would.
    Raises `MissingFiles` where `output` holds no bundle, `ConfigError` where another plan made it.
    """
    connect_encoders(Workshop(data, work, plan), output, steps_of(output, plan))


def connect_encoders(shop: Workshop, output: Path, steps: Mapping[str, object]) -> None:
    """Connect the encoders in `output`, measure, and write what goes with them."""
    shutil.rmtree(output / "connectors", ignore_errors=True)
    encoders: dict[str, CompactEncoder] = {
        space: load_compact(output / "encoders" / space) for space in SPACES
    }
    links = LinkMaker(shop, encoders).make(output)
    measured = Measurements(shop, encoders, links)
    lines = measured.lines()
    write_curves(measured.unified(), output / "calibration.json")
    texts = files("training.compact")
    notes = {name: texts.joinpath("notes", f"{name}.md").read_text("utf-8") for name in NOTES}
    write_report(lines, output / "REPORT.md", notes)
    (output / "NOTICE.md").write_text(texts.joinpath("NOTICE.md").read_text("utf-8"), encoding="utf-8")
    metrics: dict[str, object] = {
        f"{line.task} | {line.variant} | {line.figure}": [round(line.value, 4), round(line.chance, 4)]
        for line in lines
    }
    write_manifest(shop, output, metrics, steps)
    size = sum(p.stat().st_size for p in output.rglob("*") if p.is_file())
    say(f"{output}: {size / 1e6:.1f} MB")

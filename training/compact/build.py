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

NOTES = {
    "intro": (
        "Every figure is on media that no training step saw: whole recordings of sound, whole meshes "
        "with their renders (a name within an artist, or a shape and its copies), whole concept groups "
        "of emoji, whole labels or senders of photographs. `concept` is the data folder's loose label; "
        "an answer is right if it shares the query's concept. Chance is in brackets. `exmcr` is what the "
        "bundle serves; `ridge`, `procrustes` and `no connector` are what a connector has to beat; "
        "`teachers' scores` maps the class scores of YAMNet and MobileNetV2 onto the name vectors, with "
        "no training of ours."
    ),
    "limits": (
        "Limits. The held-out clips are few (see the counts), so a figure moves by several points with "
        "the split. `a sound's name` and its like put the text of an item's name in its place: what a "
        "perfect encoder of that kind would reach, everything else as it is. So sound to picture is limited "
        "by the sounds, with which made perfect it would just reach five times chance, and more by the "
        "pictures, which are of things that no training picture showed; sound to shape by the shapes. "
        "The picture tower saw few photographs of animals and none of vehicles or instruments. The "
        "calibration's curves were fitted on the media measured here."
    ),
    "tried": (
        "What was tried for the picture trunk. Taught from end to end, a residual network of the same size "
        "at 128 pixels learnt what it saw and little else: of a kind of photograph kept from it (pets and "
        "toys) it named one of the teacher's five best classes in 4 % of cases, against 38 % of held-out "
        "pictures of the kinds it saw; five times as many views, larger pictures, Muon for AdamW or a "
        "student shaped like its teacher changed how fast it learnt, not that. Hence stages, each taught "
        "by the teacher's own. Their errors add up: after 1,000 to 2,000 steps each got 1 to 17 % of its "
        "map's variance wrong, and all joined knew nothing (a correlation of 0.03 with the teacher's "
        "features), though eight of them, alone among the teacher's, left it at 0.97 or more. The thin "
        "stages at the front, which cost least, lost most; with 4,000 steps their errors fell from 9, 17, "
        "12 and 8 % to 3, 2, 1 and 1 %, and so they get 8,000. Pictures of 192 pixels, since the teacher "
        "itself, given less, no longer agrees with itself: its best class at 224 pixels is among its five "
        "best at 192 in 92 % of the photographs of pets and toys, at 160 in 70 %, at 128 in 61 %. "
        "Of pictures under labels that were held out, the joined student named one of its teacher's five "
        "best classes in 77 to 81 % of cases, 81 to 86 % after its second round, the former one in 48 to "
        "55 %. MobileNetV2 itself, frozen below the same head, reached a mAP of 20.1 from sound to picture "
        "with the former connector, its student 18.1: there is more to be had from what a second round "
        "teaches than from a closer copy. For sounds: with YAMNet itself as the "
        "trunk (its weights are not shipped) the same heads name 81.0 % of the ESC clips in the sounds' own "
        "space, and 85.7 % after one more pass of 32,768 views in which it also learned what they show. Not "
        "tried: stages for sounds; that network as the teacher of a student; pictures drawn from the "
        "teacher's weights, which would take longer than all the rest."
    ),
}


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
    write_report(lines, output / "REPORT.md", NOTES)
    notice = files("training.compact").joinpath("NOTICE.md").read_text(encoding="utf-8")
    (output / "NOTICE.md").write_text(notice, encoding="utf-8")
    metrics: dict[str, object] = {
        f"{line.task} | {line.variant} | {line.figure}": [round(line.value, 4), round(line.chance, 4)]
        for line in lines
    }
    write_manifest(shop, output, metrics, steps)
    size = sum(p.stat().st_size for p in output.rglob("*") if p.is_file())
    say(f"{output}: {size / 1e6:.1f} MB")

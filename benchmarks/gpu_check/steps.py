"""Steps: one after the other, each timed and guarded, until the time is over.

A step is a generator of findings. What it raises is a finding too, and the next step begins with the card's
memory given back. A step that hangs does not take the table with it: the watchdog prints what there is.
"""

import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from benchmarks._rows import Row
from benchmarks.gpu_check import card
from benchmarks.gpu_check.findings import Findings, Note
from benchmarks.gpu_check.sizes import Sizes

Found = Iterator[Row | Note]
GRACE_SECONDS = 45.0
"""Time that a step may run past the end of the time before the watchdog calls it hung."""
HUNG = 3
"""The exit status then."""


class Clock:
    """The time there is for all steps, from now on."""

    def __init__(self, minutes: float) -> None:
        self._end = time.monotonic() + 60 * minutes

    def left(self) -> float:
        """Seconds that are left; none or fewer when the time is over."""
        return self._end - time.monotonic()


@dataclass(frozen=True)
class Scene:
    """The surroundings of a step: the device, its sizes, and how long it may take."""

    device: str
    sizes: Sizes
    clock: Clock
    ends: float

    @property
    def on_card(self) -> bool:
        """Return whether the device is a GPU."""
        return self.device.startswith("cuda")

    def left(self) -> float:
        """Seconds this step may still take."""
        return min(self.ends - time.monotonic(), self.clock.left())


@dataclass(frozen=True)
class Step:
    """One step. On a card it is begun only if `least` seconds are left, and is told to end after `most`."""

    name: str
    work: Callable[[Scene], Found]
    least: float = 5.0
    most: float = 60.0
    needs_gpu: bool = False


def measure(steps: Sequence[Step], device: str, sizes: Sizes, clock: Clock, findings: Findings) -> None:
    """Run the steps in order and add what they find."""
    for step in steps:
        on_card = device.startswith("cuda")
        if step.needs_gpu and not on_card:
            findings.add(Note(step.name, "needs a GPU"))
        elif clock.left() < (step.least if on_card else 0):
            findings.add(Note(step.name, "skipped: the time is over"))
        else:
            _run(step, Scene(device, sizes, clock, time.monotonic() + step.most), findings)


def _run(step: Step, scene: Scene, findings: Findings) -> None:
    started = time.monotonic()
    try:
        card.forget_peak(scene.device)
        for found in step.work(scene):
            findings.add(found)
    except Exception as error:  # whatever it is: the others are to go on
        traceback.print_exc()
        said = str(error).strip().splitlines() or [""]
        findings.add(Note(step.name, f"{type(error).__name__}: {said[-1][:300]}", failed=True))
    try:
        peak = card.peak_bytes(scene.device)
        card.give_back(scene.device)
    except Exception as error:  # a card that fails once may fail at everything that follows
        findings.add(Note(f"{step.name}: giving memory back", f"{type(error).__name__}", failed=True))
        peak = None
    if peak is not None:
        findings.add(Row(f"{step.name}: peak of the card's memory in this process", peak / 2**30, "GiB"))
    findings.add(Row(f"{step.name}: took", time.monotonic() - started, "s"))


def watch(clock: Clock, findings: Findings, publish: Callable[[], None]) -> Callable[[], None]:
    """Have the table printed and the process ended if steps go on for long after the time is over.

    Call what it returns when all went well.
    """
    done = threading.Event()

    def wait() -> None:
        if not done.wait(max(0.0, clock.left()) + GRACE_SECONDS):
            findings.add(Note("the check", "a step hangs, see the last line above", failed=True))
            publish()
            sys.stderr.flush()
            os._exit(HUNG)

    threading.Thread(target=wait, name="watchdog", daemon=True).start()
    return done.set

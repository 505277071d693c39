"""The GPU check: its small run on the CPU passes, and no step can take the others with it."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from waiting import until

from benchmarks._rows import Row
from benchmarks.gpu_check import card, steps, wheels
from benchmarks.gpu_check.findings import Findings, Note, largest
from benchmarks.gpu_check.sizes import SMALL
from benchmarks.gpu_check.steps import Clock, Step, measure, watch

ROOT = Path(__file__).parents[2]
MEASURED = (
    "ViT-B/32 image, cut short, bfloat16: batches of 1 to 2",
    "ViT-L/14 text, cut short, float32: alone and in the largest batch",
    "HTSAT-tiny audio, cut short, bfloat16: batches of 1 to 2",
    "PointBERT point_cloud, cut short, float32: batches of 1 to 2",
    "8 pictures, memory for 2, compact: batches that failed and were halved",
    "audio, compact: encoder alone, batches of 4",
    "service, text, compact, 4 a request",
    "service, point_cloud, compact: items a batch",
    "service, two copies, image, compact, 4 at once",
    "aggregation, bfloat16, 64 queries x 1,000 memories of 64",
    "a step of 32, cmcr-paper, float32",
    "two ranks over gloo, 8 steps: rank 1 against one",
    "projected on the CPU by 256, 10,000 of 10,000 vectors",
    "exmcr-paper, 48 texts, 32 pictures, 40 sounds, 2 epochs: the whole run",
)
NEEDS_A_GPU = {
    "ViT-B/32, cut short, float16",
    "8 pictures, memory for 2, compact: not given back",
    "image, compact: the network by a CUDA graph",
    "service, batches of up to 128",
    "one rank over NCCL",
    "projected on a card by 65,536",
    "raw loop, compiled",
}


@pytest.mark.timeout(900)
def test_the_small_run_takes_every_step_and_none_fails() -> None:
    command = [
        sys.executable,
        str(ROOT / "benchmarks/gpu.py"),
        "--device",
        "cpu",
        "--json",
        "--minutes",
        "14",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert (found["benchmark"], found["machine"]["small"]) == ("gpu", True)
    rows = {row["name"]: row for row in found["rows"]}
    assert [name for name, row in rows.items() if "failed" in row or row.get("holds") is False] == []
    assert [name for name in MEASURED if "value" not in rows.get(name, {})] == []
    assert [name for name in NEEDS_A_GPU if rows.get(name, {}).get("note") != "needs a GPU"] == []
    assert "SMALL, ON THE CPU" in done.stdout
    assert str(ROOT) not in done.stdout


def test_what_the_wheels_leave_out_is_not_needed() -> None:
    """PyAV and libheif to decode wav, flac and jpeg, Qdrant's engine and matplotlib to import the check."""
    absent = ("av", "pillow_heif", "qdrant_edge", "matplotlib", "transformers", "typer")
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({absent}))\n"
        "from benchmarks.gpu_check import failed_batch, parity, ranks, raw_loop, serving, training\n"
        "import benchmarks.gpu_check.server, connectors.media\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]


def run(works: list[Step], *, device: str = "cpu", minutes: float = 1.0) -> Findings:
    findings = Findings(quiet=True)
    measure(works, device, SMALL, Clock(minutes), findings)
    return findings


def test_a_step_that_fails_is_a_row_and_the_next_goes_on() -> None:
    def fails(scene: steps.Scene) -> steps.Found:
        yield Row("before", 1.0)
        raise RuntimeError("a line\nand what went wrong")

    def works(scene: steps.Scene) -> steps.Found:
        yield Row("after", float("nan"))

    found = run([Step("one", fails), Step("two", works)])

    assert [each.name for each in found.all] == ["before", "one", "one: took", "after", "two: took"]
    assert found.failures == [
        Note("one", "RuntimeError: and what went wrong", failed=True),
        Note("after", "the figure is nan", failed=True),
    ]


def test_a_vector_that_is_no_number_is_not_passed_over() -> None:
    assert largest([0.5, 2.0, 1.0]) == 2.0
    for values in ([0.0, float("nan")], [float("nan"), 0.0], []):
        assert str(largest(values)) == "nan"


def test_what_needs_a_gpu_and_what_time_is_over_for_is_said() -> None:
    step = Step("step", lambda scene: iter([Row("ran", 1.0)]), needs_gpu=True)

    assert run([step]).all == [Note("step", "needs a GPU")]
    assert run([step], device="cuda:0", minutes=0).all == [Note("step", "skipped: the time is over")]


def test_a_step_that_hangs_leaves_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    published: list[int] = []
    monkeypatch.setattr(steps, "GRACE_SECONDS", 0.0)
    monkeypatch.setattr(os, "_exit", ended.append)
    findings = Findings(quiet=True)

    watch(Clock(0), findings, lambda: published.append(len(findings.all)))

    until(lambda: bool(ended))
    assert (ended, published) == ([steps.HUNG], [1])
    watch(Clock(1), findings, lambda: None)()


def test_number_formats_are_as_before_afterwards() -> None:
    before = steps.card.torch.get_float32_matmul_precision()
    with card.tf32(True):
        assert steps.card.torch.get_float32_matmul_precision() == "high"
    assert steps.card.torch.get_float32_matmul_precision() == before


def test_every_dependency_of_the_service_is_brought_or_known_not_to_be_needed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = {re.split(r"[\[<>=]", line)[0].replace("_", "-") for line in project["dependencies"]}
    listed = {*wheels.NEEDED, *wheels.LEFT_OUT, *wheels.THERE}
    assert named <= {name.replace("_", "-") for name in listed}


def test_only_what_is_missing_or_free_to_change_is_installed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    there = {
        "ftfy": "6.3.1",
        "pydantic": "2.14.3",
        "pydantic-core": "2.49.0",
        "timm": "0.1",
        "typing-extensions": "4.9.0",
        "torch": "2.11.0+cu130",
    }
    monkeypatch.setattr(wheels, "_installed", there.get)
    offered = [
        tmp_path / f"{name}-py3-none-any.whl"
        for name in (
            "ftfy-6.3.1",
            "open_clip_torch-3.3.0",
            "pydantic-2.14.3",
            "pydantic_core-2.50.4",
            "timm-1.0.31",
            "typing_extensions-4.16.0",
        )
    ]

    chosen = [wheel.name.split("-")[0] for wheel in wheels.choose(offered)]

    assert chosen == ["open_clip_torch", "pydantic", "pydantic_core", "typing_extensions"]


def test_this_python_is_told_that_isthmus_is_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(wheels, "_installed", lambda name: None)
    (tmp_path / "wheels").mkdir()

    wheels.install(tmp_path / "wheels", tmp_path / "target")

    (metadata,) = (tmp_path / "target").glob("isthmus-*.dist-info/METADATA")
    assert "Name: isthmus\n" in metadata.read_text()

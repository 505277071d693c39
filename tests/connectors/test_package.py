"""`import connectors`: the names it offers, and what it sets before torch is imported."""

import os
import subprocess
import sys

import pytest

import connectors

OPENMP = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
WATCHED = """
import os, sys
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            print(os.environ.get("GOMP_SPINCOUNT"))
            raise SystemExit
sys.meta_path.insert(0, Watch())
"""
"""Ends a process with the spin count when torch is about to be imported, which is when OpenMP reads it."""


def spin_count_of(code: str, **environment: str) -> str:
    """The spin count torch is imported with by `code`, run where OpenMP is set up by `environment` alone."""
    inherited = {name: value for name, value in os.environ.items() if name not in OPENMP}
    done = subprocess.run(
        [sys.executable, "-c", f"{WATCHED}\n{code}"],
        env={**inherited, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_every_name_that_is_offered_is_there() -> None:
    assert dir(connectors) == sorted(connectors.__all__)
    for name in connectors.__all__:
        assert getattr(connectors, name) is not None


@pytest.mark.parametrize("code", ["from connectors import load_bundle", "import service, torch"])
def test_openmp_threads_are_told_to_spin_briefly_before_torch_is_imported(code: str) -> None:
    assert spin_count_of(code) == "3000"


@pytest.mark.parametrize(
    ("environment", "count"),
    [({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "passive"}, "None")],
)
def test_a_users_own_openmp_settings_stay(environment: dict[str, str], count: str) -> None:
    assert spin_count_of("from connectors import load_bundle", **environment) == count

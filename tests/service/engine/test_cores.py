"""Cores are counted as the process may use them."""

import os
from pathlib import Path

from service.engine.cores import available_cores, numa_nodes


def test_a_containers_quota_is_rounded_up(tmp_path: Path) -> None:
    quota = tmp_path / "cpu.max"
    quota.write_text("50000 100000\n")
    assert available_cores(quota) == 1
    quota.write_text("max 100000\n")
    assert available_cores(quota) == len(os.sched_getaffinity(0))


def test_nodes_hold_the_cores_this_process_may_use(tmp_path: Path) -> None:
    mine = min(os.sched_getaffinity(0))
    for name, cores in (("node0", f"{mine}-{mine},5000"), ("node1", "6000-6003"), ("node2", "\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "cpulist").write_text(cores)
    assert numa_nodes(tmp_path) == [frozenset({mine})]
    assert numa_nodes(tmp_path / "node0") == [frozenset()]

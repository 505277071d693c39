"""Cores are counted as the process may use them."""

import os
import threading
from pathlib import Path

import torch

from service.engine.cores import available_cores, compute_on, numa_nodes


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


def test_a_thread_keeps_its_cores_when_another_asks_for_fewer() -> None:
    """In its first operation torch gives a thread what any asked for last, which may be a decoder's one."""
    used: list[int] = []
    begun, asked = threading.Event(), threading.Event()

    def encode() -> None:
        compute_on(3)
        begun.set()
        asked.wait()
        torch.ones(8) + 1
        used.append(torch.get_num_threads())

    def decode() -> None:
        begun.wait()
        compute_on(1)
        asked.set()

    before = torch.get_num_threads()
    threads = [threading.Thread(target=work) for work in (encode, decode)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    torch.set_num_threads(before)
    assert used == [3]

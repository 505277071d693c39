"""Channels carry whole messages; child processes run the package that their parent runs."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import service
from service.concurrency import child_process
from service.concurrency.child_process import Channel
from service.concurrency.messages import Failed, Kinds, pack

USES_BOTH_KINDS = """
import sys
from pathlib import Path
from connectors.media import Limits
from service.engine.decode_processes import DecodeProcesses
from service.index.edge.edge_backend import EdgeBackend
from service.index.protocol import Layout

decoders = DecodeProcesses()
rows = b"\\n".join(b"%d %d %d" % (i, i * i, -i) for i in range(100))
print(len(decoders.decode("point_cloud", rows, "scan.xyz", Limits())))
decoders.close()
backend = EdgeBackend(Path(sys.argv[1]))
generation = backend.create("birds", Layout(8, {"clip": 8}, "v1"), {})
print(backend.count(generation.name, None))
backend.close()
"""


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Channel, socket.socket]]:
    left, right = socket.socketpair()
    yield Channel(left), Channel(right), right
    left.close()
    right.close()


def test_messages_arrive_whole_and_in_order(ends: tuple[Channel, Channel, socket.socket]) -> None:
    left, right, _ = ends
    sent = [Failed("a", "b" * size) for size in (0, 7, 3_000_000, 1)]
    thread = threading.Thread(target=lambda: [left.send(pack(each)) for each in sent])
    thread.start()
    assert right.poll(10)
    assert [Kinds(Failed).unpack(right.receive()) for _ in sent] == sent
    thread.join()
    assert not right.poll(0)
    left.close()
    assert right.poll(0)
    with pytest.raises(EOFError):
        right.receive()


def test_the_other_end_may_be_too_slow(ends: tuple[Channel, Channel, socket.socket]) -> None:
    left, _, _ = ends
    with pytest.raises(TimeoutError):
        left.receive(0.01)
    with pytest.raises(TimeoutError):
        left.send(bytes(50_000_000), 0.05)


def test_a_message_that_is_too_long_is_not_received(
    ends: tuple[Channel, Channel, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    left, _, raw = ends
    monkeypatch.setattr(child_process, "MAX_BYTES", 1_000)
    raw.sendall((1_116).to_bytes(8, "little"))
    with pytest.raises(OSError, match="1,116 bytes"):
        left.receive()


def test_folders_of_the_working_directory_are_not_imported(tmp_path: Path) -> None:
    for name in ("service", "connectors", "numpy"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise ImportError('of the working directory')\n")
    root = Path(service.__file__).parents[1]
    parent = subprocess.run(
        [sys.executable, "-P", "-c", USES_BOTH_KINDS, str(tmp_path / "index")],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
    )
    assert (parent.stdout, parent.returncode) == ("100\n0\n", 0), parent.stderr

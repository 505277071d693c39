"""Servers in processes of their own: Isthmus, and the peers it is measured beside.

Holds `running`, which starts a command, waits until it answers, and ends it.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

START_SECONDS = 600
STOP_SECONDS = 60
ADDRESS = re.compile(rb"http://127\.0\.0\.1:(\d+)")


@dataclass(frozen=True)
class Running:
    """A server that answers: its port and its process."""

    port: int
    pid: int

    def memory(self) -> int:
        """Bytes of memory it holds (RSS)."""
        pages = Path(f"/proc/{self.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def get(self, path: str) -> httpx.Response:
        """A GET from it."""
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=60)

    def batch_sizes(self) -> dict[str, dict[int, int]]:
        """Isthmus' own count of its batches: modality -> upper bound of the bucket -> batches in it."""
        found: dict[str, dict[int, int]] = {}
        pattern = re.compile(r'^isthmus_batch_items_bucket\{.*le="([\d.]+)",modality="(\w+)"\} ([\d.]+)$')
        for line in self.get("/metrics").text.splitlines():
            if said := pattern.match(line):
                found.setdefault(said[2], {})[int(float(said[1]))] = int(float(said[3]))
        for buckets in found.values():
            below = 0
            for bound in sorted(buckets):
                buckets[bound], below = buckets[bound] - below, buckets[bound]
        return found


def isthmus(bundle: str, data_dir: Path) -> list[str]:
    """The command that serves a bundle at a free port."""
    serve = ["-m", "service.cli", "serve", "--port", "0", "--bundle", bundle, "--data-dir", str(data_dir)]
    return [sys.executable, *serve]


def free_port() -> int:
    """A port that was free a moment ago, for servers that cannot choose one themselves."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def running(
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    health: str = "/readyz",
    port: int | None = None,
) -> Iterator[Running]:
    """A server process, once `health` is 200; at `port`, or at the one it says it listens on."""
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
        try:
            yield Running(_answering_port(process, log.fileno(), health, port), process.pid)
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
            with suppress(ProcessLookupError):  # what it has left behind goes with it
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _answering_port(process: "subprocess.Popen[bytes]", log: int, health: str, port: int | None) -> int:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        said = ADDRESS.search(os.pread(log, 65536, 0))
        known = port or (int(said[1]) if said else None)
        if known:
            try:
                if httpx.get(f"http://127.0.0.1:{known}{health}").status_code == 200:
                    return known
            except httpx.TransportError:
                pass
        time.sleep(0.1)
    raise RuntimeError(f"the server did not start: {os.pread(log, 65536, 0).decode()[-3000:]}")

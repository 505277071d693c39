"""A real server process on a real socket, over the tiny encoders."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
import tiny_encoders

ROOT = Path(__file__).parents[2]
START_SECONDS = 60


class ServerProcess:
    """`isthmus serve` in a process of its own, with a client for it."""

    def __init__(self, bundle: Path, data_dir: Path, **settings: object) -> None:
        self.data_dir = data_dir
        self._arguments = ["serve", "--port", "0", "--bundle", str(bundle), "--data-dir", str(data_dir)]
        variables = {name: str(value) for name, value in settings.items()}
        path = os.pathsep.join([str(ROOT), str(ROOT / "tests/service"), os.environ.get("PYTHONPATH", "")])
        self._environment = {**os.environ, **variables, "PYTHONPATH": path}
        self.start()

    def start(self) -> None:
        """Start the process and wait until it listens."""
        self._log = (self.data_dir.parent / f"{self.data_dir.name}.log").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tiny_encoders", *self._arguments],
            env=self._environment,
            stderr=self._log,
            cwd=ROOT,
        )
        deadline = time.monotonic() + START_SECONDS
        while "listening on " not in self.log() and time.monotonic() < deadline:
            assert self.process.poll() is None, self.log()
            time.sleep(0.02)
        self.url = self.log().split("listening on ")[1].split()[0]
        self.client = httpx.Client(base_url=self.url, timeout=60)

    def wait_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while self.client.get("/readyz").status_code != 200:
            assert time.monotonic() < deadline and self.process.poll() is None, self.log()
            time.sleep(0.02)

    def log(self) -> str:
        return Path(self._log.name).read_text()

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Signal the process and wait for its end; gives its exit status."""
        self.client.close()
        with suppress(ProcessLookupError):
            self.process.send_signal(how)
        status = self.process.wait(timeout=60)
        self._log.close()
        return status


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoders.write_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="session")
def server(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One server for all tests that leave it as they found it, or use a collection of their own."""
    server = ServerProcess(tiny_bundle, tmp_path_factory.mktemp("server") / "data")
    server.wait_ready()
    yield server
    assert server.stop() == 0


@pytest.fixture
def api(server: ServerProcess) -> httpx.Client:
    return server.client


@pytest.fixture
def start_server(tiny_bundle: Path, tmp_path: Path) -> Iterator[object]:
    """Makes servers of a test's own: `start_server(ISTHMUS_QUEUE_ITEMS=2)`."""
    started: list[ServerProcess] = []

    def start(data_dir: Path | None = None, **settings: object) -> ServerProcess:
        started.append(ServerProcess(tiny_bundle, data_dir or tmp_path / f"data-{len(started)}", **settings))
        started[-1].wait_ready()
        return started[-1]

    yield start
    for server in started:
        if server.process.poll() is None:
            server.stop(signal.SIGKILL)

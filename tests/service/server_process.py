"""`isthmus serve` over the tiny encoders, in a process of its own, for tests to talk to."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import httpx
from reply_check import check_reply
from waiting import PATIENCE, until

ROOT = Path(__file__).parents[2]


class ServerProcess:
    """`isthmus serve` in a process of its own, with a client for it."""

    def __init__(self, bundle: Path | str, data_dir: Path, **settings: object) -> None:
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
        until(lambda: "listening on " in self.log(), failed=self.has_ended, tell=self.log)
        self.url = self.log().split("listening on ")[1].split()[0]
        self.client = httpx.Client(
            base_url=self.url, timeout=PATIENCE, event_hooks={"response": [check_reply]}
        )

    @property
    def address(self) -> tuple[str, int]:
        """Host and port it listens on."""
        host, port = self.url.removeprefix("http://").split(":")
        return host, int(port)

    def wait_ready(self) -> None:
        until(
            lambda: self.client.get("/readyz").status_code == 200,
            every=0.02,
            failed=self.has_ended,
            tell=self.log,
        )

    def has_ended(self) -> bool:
        return self.process.poll() is not None

    def log(self) -> str:
        return Path(self._log.name).read_text()

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Signal the process and wait for its end; gives its exit status."""
        self.client.close()
        with suppress(ProcessLookupError):
            self.process.send_signal(how)
        status = self.process.wait(timeout=PATIENCE)
        self._log.close()
        return status

    def memory(self) -> int:
        """Bytes of memory the process holds."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")


class StartServer(Protocol):
    """Starts a server of a test's own: `start_server(ISTHMUS_QUEUE_ITEMS=2)`."""

    def __call__(self, **settings: object) -> ServerProcess: ...

"""`isthmus demo` in a process of its own, and the system's Chromium to look at it with."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from waiting import until

ROOT = Path(__file__).parents[2]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
]


class Demo:
    """A running `isthmus demo`."""

    def __init__(self, data_dir: Path, *options: str) -> None:
        self._log = data_dir.with_suffix(".log").open("w+")
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        environment = {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
        command = [
            sys.executable,
            "-m",
            "service.cli",
            "demo",
            "--port",
            "0",
            "--data-dir",
            str(data_dir),
            *options,
        ]
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=self._log, stderr=self._log
        )

    @property
    def log(self) -> str:
        return Path(self._log.name).read_text()

    def wait_ready(self) -> str:
        """Wait until it says it is ready; gives its URL."""
        said = until(
            lambda: re.search(r"ready at (http://\S+)", self.log),
            every=0.1,
            failed=lambda: self.process.poll() is not None,
            tell=lambda: self.log,
        )
        return said.group(1)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=60)
        finally:
            self.process.kill()
            self._log.close()


@pytest.fixture(scope="session")
def demo_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a demo that all tests share; what a test adds, it adds under names of its own."""
    demo = Demo(tmp_path_factory.mktemp("demo") / "data")
    try:
        yield demo.wait_ready()
    finally:
        status = demo.stop()
    assert status == 0, demo.log


@pytest.fixture
def api(demo_url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=demo_url, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def browser():
    """A browser for one module: Playwright keeps an event loop running in this thread, in which no other test
    could run its own."""
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        pytest.skip(f"none of {', '.join(BROWSERS)} is installed (apt-get install chromium)")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser, demo_url):
    """The page, open and with its first results; the test fails if the console shows an error."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, permissions=["microphone"])
    page = context.new_page()
    page.set_default_timeout(30_000)
    page.console_errors = []
    page.on("pageerror", lambda error: page.console_errors.append(str(error)))
    page.on("console", lambda m: page.console_errors.append(m.text) if m.type == "error" else None)
    page.goto(demo_url)
    page.wait_for_selector("article")
    yield page
    errors = page.console_errors
    context.close()
    assert errors == []

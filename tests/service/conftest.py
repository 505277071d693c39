"""Fixtures: a real server process on a real socket, over the tiny encoders."""

import signal
from collections.abc import Iterator
from pathlib import Path

import fsspec
import httpx
import pytest
import tiny_encoders
from object_store import ObjectStore
from server_process import ServerProcess, StartServer


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


@pytest.fixture(scope="session")
def object_store() -> Iterator[ObjectStore]:
    """An object store that this process and those it starts find by their environment."""
    store = ObjectStore()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in store.environment.items():
            patch.setenv(name, value)
        patch.setitem(fsspec.config.conf, "s3", {"endpoint_url": store.url})
        yield store
    store.stop()


@pytest.fixture
def api(server: ServerProcess) -> httpx.Client:
    return server.client


@pytest.fixture
def start_server(tiny_bundle: Path, tmp_path: Path) -> Iterator[StartServer]:
    started: list[ServerProcess] = []

    def start(**settings: object) -> ServerProcess:
        started.append(ServerProcess(tiny_bundle, tmp_path / f"data-{len(started)}", **settings))
        started[-1].wait_ready()
        return started[-1]

    yield start
    for server in started:
        if server.process.poll() is None:
            server.stop(signal.SIGKILL)

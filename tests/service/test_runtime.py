"""While it loads and while it drains, the service says that it cannot answer, and when to come back."""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from service.http.app import create_app
from service.pipeline import Pipeline
from service.releases.switching import activate
from service.runtime import Runtime
from service.settings import Settings

EMBED = ("/embed", {"items": [{"text": "rain"}], "store": False})
OPERATIONS = (
    EMBED,
    ("/search", {"query": [{"text": "rain"}]}),
    ("/classify", {"item": {"text": "rain"}, "labels": ["wet", "dry"]}),
    ("/v1/embeddings", {"input": "rain", "model": "tiny"}),
)


@pytest.fixture
def settings(tiny_bundle: Path, tmp_path: Path) -> Settings:
    return Settings(bundle=str(tiny_bundle), data_dir=tmp_path / "data", index="local", queue_items=4)


@pytest.fixture
def app(settings: Settings) -> FastAPI:
    """An app that nobody has begun to load."""
    return create_app(settings)


def talk(app: FastAPI, work: Callable[[httpx.AsyncClient], Awaitable[None]]) -> None:
    async def run() -> None:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://isthmus") as api:
            try:
                await work(api)
            finally:
                await app.state.runtime.close()

    asyncio.run(run())


async def assert_unavailable(api: httpx.AsyncClient, phase: str) -> None:
    """Every operation answers 503, so does `/readyz`, and the process lives."""
    for path, body in OPERATIONS:
        reply = await api.post(path, json=body)
        assert (reply.status_code, reply.json()["error"]["code"]) == (503, "unavailable"), path
        assert phase in reply.json()["error"]["message"]
        assert reply.headers["retry-after"] == "2"
    reply = await api.get("/readyz")
    assert (reply.status_code, reply.json()["status"]) == (503, phase)
    assert (await api.get("/livez")).status_code == 200


def test_while_it_loads_nothing_is_begun(app: FastAPI) -> None:
    talk(app, lambda api: assert_unavailable(api, "loading"))


def test_while_it_drains_nothing_is_begun_and_nobody_is_told_that_a_queue_is_full(app: FastAPI) -> None:
    async def work(api: httpx.AsyncClient) -> None:
        runtime: Runtime = app.state.runtime
        await runtime.load()
        path, body = EMBED
        assert (await api.post(path, json=body)).status_code == 200
        with runtime.pipeline.engine.admission.enter([("clip", 1)] * 4, 60.0):
            assert (await api.post(path, json=body)).status_code == 429
            runtime.drain()
            await assert_unavailable(api, "draining")

    talk(app, work)


@pytest.mark.parametrize("drained", [False, True])
def test_only_a_service_that_is_ready_says_so(
    drained: bool, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        async def prepare(pipeline: Pipeline) -> None:
            if drained:
                runtime.drain()

        runtime = Runtime(settings, prepare)
        try:
            await runtime.load()
        finally:
            await runtime.close()
        assert runtime.phase == ("draining" if drained else "ready")

    with caplog.at_level(logging.INFO, "isthmus"):
        asyncio.run(run())
    assert ("ready after" in caplog.text) is not drained


def test_the_thread_of_a_switch_ends_with_the_service(settings: Settings) -> None:
    def refreshing() -> list[str]:
        return [each.name for each in threading.enumerate() if each.name.startswith("refresh")]

    async def run() -> None:
        runtime = Runtime(settings)
        try:
            await runtime.load()
            pipeline = runtime.pipeline
            version = pipeline.space.connector_version
            job = await activate(pipeline, runtime.releases, runtime.jobs, version)
            assert (await runtime.jobs.ended(job.id)).state == "done"
            assert len(refreshing()) == 1
        finally:
            await runtime.close()
        assert refreshing() == []

    asyncio.run(run())

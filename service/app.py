"""The app: every route, the envelope around them, and what starts and stops with it."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version

from fastapi import FastAPI

from service.door import Door
from service.envelope import Envelope
from service.error_handlers import install_error_handlers
from service.openapi import install_openapi
from service.routes import (
    backup,
    classify,
    collections,
    connectors,
    embed,
    embeddings,
    health,
    ingest,
    jobs,
    media,
    points,
    search,
)
from service.runtime import Prepare, Runtime
from service.settings import Settings
from service.web import page

log = logging.getLogger("isthmus")

DESCRIPTION = """
Embed text, images, sounds and point clouds into one space, and search across them.

Every reply carries `X-Request-ID` and where its time went (`Server-Timing`, in milliseconds). Every error has
the shape `{"error": {"message", "type", "param", "code", "request_id"}}`. A request may set its deadline in
seconds with `X-Request-Timeout`. 429 and 503 say in `Retry-After` when to come back.
"""


def create_app(settings: Settings | None = None, prepare: Prepare | None = None) -> FastAPI:
    """The app for some settings (those of the environment if None). It loads in the background when started.

    `app.state.runtime` is the `Runtime`; `/readyz` is 200 once it is loaded.
    """
    runtime = Runtime(settings or Settings(), prepare)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        loading = asyncio.create_task(runtime.load())
        loading.add_done_callback(_log_failure)
        try:
            yield
        finally:
            runtime.drain()
            loading.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await loading
            await runtime.close()

    app = FastAPI(
        title="Isthmus",
        version=version("isthmus"),
        description=DESCRIPTION,
        lifespan=lifespan,
        redoc_url=None,
    )
    app.state.runtime = runtime
    app.state.door = door = Door(runtime.crowded, runtime.refusal)
    app.add_middleware(Envelope, metrics=runtime.metrics, settings=runtime.settings, door=door)
    install_error_handlers(app, runtime)
    app.include_router(page.router)
    data = (embed, search, points, media, classify, embeddings, collections)
    for module in (*data, connectors, ingest, jobs, backup, health):
        app.include_router(module.router)
    install_openapi(app)
    return app


def _log_failure(loading: "asyncio.Task[None]") -> None:
    if not loading.cancelled() and loading.exception() is not None:
        log.error("the service could not be loaded: %s", loading.exception())

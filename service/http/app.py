"""The app: every route, the middleware around them, and the runtime that starts and stops with it."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version

from fastapi import FastAPI

from service.http.body_limits import BodyLimits
from service.http.error_handlers import install_error_handlers
from service.http.load_shedding import LoadShedder
from service.http.middleware import RequestMiddleware
from service.http.openapi import install_openapi
from service.http.routes import (
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
from service.http.web import page
from service.runtime import Prepare, Runtime
from service.settings import Settings

log = logging.getLogger("isthmus")

DESCRIPTION = """
Embed text, images, sounds and point clouds into one space, and search across them.

Every reply carries `X-Request-ID` and where its time went (`Server-Timing`, in milliseconds). Every error has
the shape `{"error": {"message", "type", "param", "code", "request_id"}}`. A request may set its deadline in
seconds with `X-Request-Timeout`. 429 and 503 say in `Retry-After` when to try again.
"""


def create_app(settings: Settings | None = None, prepare: Prepare | None = None) -> FastAPI:
    """Make the app for some settings (those of the environment if None); it loads once it is started.

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
    settings, metrics = runtime.settings, runtime.metrics
    # The one added last is the outermost.
    app.add_middleware(BodyLimits, settings=settings, metrics=metrics)
    app.add_middleware(
        LoadShedder,
        ready_engine=runtime.ready_engine,
        timeout=settings.request_timeout,
        metrics=metrics,
    )
    app.add_middleware(RequestMiddleware, metrics=metrics)
    install_error_handlers(app, metrics)
    app.include_router(page.router)
    data = (embed, search, points, media, classify, embeddings, collections)
    for module in (*data, connectors, ingest, jobs, backup, health):
        app.include_router(module.router)
    install_openapi(app)
    return app


def _log_failure(loading: "asyncio.Task[None]") -> None:
    if not loading.cancelled() and loading.exception() is not None:
        log.error("the service could not be loaded: %s", loading.exception())

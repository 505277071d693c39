"""The server process: uvicorn around the app, with a truthful start and an orderly stop.

`serve` runs until it is asked to stop. On SIGTERM the service says so on `/readyz`, takes no new work, lets
running requests end within `drain_seconds`, and closes everything.
"""

import asyncio
import gc
import logging
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn

from connectors.errors import ConfigError, IsthmusError
from service.http.app import create_app
from service.pipeline import Pipeline
from service.runtime import Prepare, Runtime
from service.settings import Settings

SWITCH_SECONDS = 0.0005
"""Seconds until a busy thread hands the interpreter to the event loop; Python's own 5 ms would be felt."""


class Server(uvicorn.Server):
    """A uvicorn server that tells the runtime when it is asked to stop, and stops if loading fails."""

    def __init__(self, config: uvicorn.Config, runtime: Runtime, greet: Callable[[], None]) -> None:
        super().__init__(config)
        self._runtime = runtime
        self._greet: Callable[[], None] | None = greet

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle the signals that ask to stop; the process then ends with success, not by the signal."""
        before = {sig: signal.signal(sig, self.handle_exit) for sig in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for sig, handler in before.items():
                signal.signal(sig, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drain at the first signal."""
        self._runtime.drain()
        super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        """Return whether it is time to stop. Called ten times a second."""
        if self._greet is not None and self._runtime.phase == "ready":
            self._greet()
            self._greet = None
        return self._runtime.phase == "failed" or await super().on_tick(counter)


def freeze_loaded_objects() -> None:
    """Have the garbage collector skip every object that exists by now.

    They belong to the libraries and the encoders, and stay until the end. Scanning them over and over took a
    third of the event loop's time.
    """
    gc.collect()
    gc.freeze()


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket whose connections send without delay (TCP_NODELAY).

    asyncio sees to that only for sockets it makes itself; without it a reply in several pieces waits 40 ms
    for the client to acknowledge the first. Raises `ConfigError` where the address cannot be used.
    """
    try:
        listener = socket.create_server((host, port), reuse_port=False, backlog=2048)
    except (OSError, OverflowError) as error:
        reason = str(getattr(error, "strerror", error)).partition(" (while")[0]
        raise ConfigError(
            f"cannot listen on {host}, port {port}: {reason}; choose another with --host and --port"
        ) from error
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def serve(settings: Settings, prepare: Prepare | None = None, welcome: str | None = None) -> int:
    """Serve until stopped; return the exit status.

    `prepare` runs after loading, before the service is ready. `welcome` is printed once it is ready, with its
    address for `{url}`.
    """
    logging.basicConfig(
        level=settings.log_level.upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    sys.setswitchinterval(SWITCH_SECONDS)

    async def prepare_and_freeze(pipeline: Pipeline) -> None:
        if prepare is not None:
            await prepare(pipeline)
        freeze_loaded_objects()

    app = create_app(settings, prepare_and_freeze)
    runtime: Runtime = app.state.runtime
    listener = listen(settings.host, settings.port)
    host, port = listener.getsockname()[:2]
    url = f"http://{host}:{port}"
    logging.getLogger("isthmus").info("listening on %s", url)

    def greet() -> None:
        if welcome is not None:
            sys.stdout.write(welcome.format(url=url))
            sys.stdout.flush()

    config = uvicorn.Config(
        app,
        # uvloop takes the interpreter anew for every event, at the cost of the encoders' threads: with ten
        # times too many requests, 5 % fewer were answered.
        loop="asyncio",
        ws="none",
        http="httptools",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=max(1, round(settings.drain_seconds)),
        server_header=False,
    )
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(Server(config, runtime, greet).serve([listener]))
    if runtime.failure is not None:
        reason = (
            runtime.failure.message if isinstance(runtime.failure, IsthmusError) else repr(runtime.failure)
        )
        logging.getLogger("isthmus").error("stopped: %s", reason)
        return 1
    return 0

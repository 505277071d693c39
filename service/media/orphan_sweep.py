"""The search for media that no point names: what a kill, a failed deletion or a backup has left behind.

Holds `OrphanSweep`, which goes through the media store when the service starts, every so often, and whenever
it is told that there may be something to find.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from connectors.errors import IsthmusError

log = logging.getLogger("isthmus")


class OrphanSweep:
    """Runs `collect`, which deletes what it finds and says how much, on a thread. For the event loop.

    It is begun by `start`, and once more `every` seconds after it ended, or at once on `hurry`.
    """

    def __init__(self, collect: Callable[[], int], every: float) -> None:
        self._collect = collect
        self._every = every
        self._due = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, in the background."""
        self._task = asyncio.create_task(self._run())

    def hurry(self) -> None:
        """Collect now, or once more where that is under way."""
        self._due.set()

    async def close(self) -> None:
        """Stop; a run under way ends by itself."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            self._due.clear()
            try:
                if removed := await asyncio.to_thread(self._collect):
                    log.info("%d media files that no point names were deleted", removed)
            except IsthmusError as error:
                log.warning("media that no point names are left for now: %s", error.message)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._every):
                    await self._due.wait()

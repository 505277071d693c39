"""The sweep of media that no point names: leftovers of a kill, a failed deletion or a backup.

Holds `OrphanSweep`, which goes through the media store when the service starts, at intervals, and on request.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from connectors.errors import IsthmusError

log = logging.getLogger("isthmus")


class OrphanSweep:
    """A task that runs `collect`, which deletes orphans and returns their number, on a thread.

    `start` begins it; it runs again `every` seconds after it ended, or at once on `hurry`. For the event
    loop.
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
        """Collect now, or once more after a run under way."""
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

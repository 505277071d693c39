"""`POST /backup`: everything that is kept, in one file, while requests go on."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Generator
from datetime import UTC, datetime

from fastapi import APIRouter
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from service.backup.stream import stream_backup
from service.http.dependencies import Ready
from service.http.openapi import ERROR_REPLIES

router = APIRouter(tags=["backup"])

BINARY = {"schema": {"type": "string", "format": "binary"}}


@router.post(
    "/backup",
    summary="Back everything up",
    response_class=Response,
    responses={200: {"description": "A tar file", "content": {"application/x-tar": BINARY}}, **ERROR_REPLIES},
)
async def backup(call: Ready) -> Response:
    """Return a tar file of every collection and its media; `isthmus restore` takes it, unpacked.

    Each collection is as of one moment, and reads and writes go on. The file's `manifest.json` comes last:
    a transfer that broke off lacks it.
    """
    pipeline, runtime = call.pipeline, call.runtime
    chunks = stream_backup(
        pipeline.index.backend, pipeline.media, call.settings.data_dir / "connectors", runtime.scratch
    )
    reading = _Reading(chunks, runtime.sweep_soon)
    try:
        # The index is copied before the first chunk: what cannot be backed up is refused, not broken off.
        first = await call.index(reading.next)
    except BaseException:
        reading.close_soon()
        raise
    return _BackupReply(first, reading)


class _Reading:
    """A backup's chunks while they are read, one at a time, on threads."""

    def __init__(self, chunks: Generator[bytes, None, None], closed: Callable[[], None]) -> None:
        self._chunks = chunks
        self._closed = closed
        self._one = threading.Lock()

    def next(self) -> bytes | None:
        """Return the next chunk, None at the end."""
        with self._one:
            return next(self._chunks, None)

    def close_soon(self) -> None:
        """Delete the copies made for the backup, once the read in progress has ended."""
        # Not awaited: where the client went away every wait in its task is cancelled.
        closing = asyncio.get_running_loop().run_in_executor(None, self._close)
        closing.add_done_callback(lambda _: self._closed())

    def _close(self) -> None:
        with self._one:
            self._chunks.close()


class _BackupReply(StreamingResponse):
    """A backup, sent as it is read. However that ends, even before it begins, the reading is closed."""

    def __init__(self, first: bytes | None, reading: _Reading) -> None:
        name = f"isthmus-{datetime.now(UTC):%Y%m%d-%H%M%S}.tar"
        super().__init__(
            _all_chunks(first, reading),
            media_type="application/x-tar",
            headers={"content-disposition": f'attachment; filename="{name}"'},
        )
        self._reading = reading

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the reply."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._reading.close_soon()


async def _all_chunks(first: bytes | None, reading: _Reading) -> AsyncIterator[bytes]:
    chunk = first
    while chunk is not None:
        yield chunk
        chunk = await asyncio.to_thread(reading.next)

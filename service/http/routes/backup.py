"""`POST /backup`: everything that is kept, in one file, while requests go on."""

import asyncio
import threading
from collections.abc import AsyncIterator, Generator
from datetime import UTC, datetime
from functools import partial

from fastapi import APIRouter
from starlette.responses import Response, StreamingResponse

from service.backup.stream import stream_backup
from service.http.dependencies import Ready
from service.http.openapi import ERROR_REPLIES
from service.runtime import Runtime

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
    # The index is copied before the first chunk: what cannot be backed up is refused, not broken off.
    first = await call.index(partial(next, chunks))
    name = f"isthmus-{datetime.now(UTC):%Y%m%d-%H%M%S}.tar"
    return StreamingResponse(
        _stream(runtime, first, chunks),
        media_type="application/x-tar",
        headers={"content-disposition": f'attachment; filename="{name}"'},
    )


async def _stream(
    runtime: Runtime, first: bytes, chunks: Generator[bytes, None, None]
) -> AsyncIterator[bytes]:
    """Yield the chunks, each read on a thread; however it ends, the copies made for it are deleted."""
    loop, reading = asyncio.get_running_loop(), threading.Lock()

    def read() -> bytes | None:
        with reading:
            return next(chunks, None)

    def close() -> None:
        with reading:
            chunks.close()

    try:
        yield first
        while (chunk := await asyncio.to_thread(read)) is not None:
            yield chunk
    finally:
        # Not awaited: where the client went away every wait in this task is cancelled.
        closing = loop.run_in_executor(None, close)
        closing.add_done_callback(lambda _: runtime.sweep_soon())

"""The submission of an ingest job: the request is checked, kept, and made into a job, in this order.

Holds `IngestRequest` and `submit`. A crash before the job is on the disk leaves nothing of it; after that,
everything it needs is there.
"""

import asyncio
import hashlib
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from service.ingest.inputs import ARCHIVE, MANIFEST, IngestInputs, IngestParams, SourceKind
from service.ingest.source import IngestSource
from service.jobs.record import JobRecord
from service.jobs.runner import JobRunner
from service.settings import MIB, Settings

NAMESPACE = uuid.UUID("0f0c8b6e-53bb-5d0a-9a52-0c2f4f0f5b57")
"""Names the input of a job that came with an Idempotency-Key: the same key, the same name."""


@dataclass(frozen=True, slots=True)
class IngestRequest:
    """A request to ingest a path on this machine, or an upload and its file name."""

    source: SourceKind
    collection: str
    path: str | None = None
    upload: BinaryIO | None = None
    name: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)


async def submit(
    jobs: JobRunner,
    inputs: IngestInputs,
    settings: Settings,
    request: IngestRequest,
    idempotency_key: str | None,
) -> JobRecord:
    """Submit a job for a request and return it; it is durable on return.

    The same key and the same request return the same job. Raises `JobConflict` for the same key with another
    request, and what `IngestSource` raises for a source that cannot be ingested.
    """
    staged = settings.data_dir / "scratch" / uuid.uuid4().hex
    try:
        sha256 = await asyncio.to_thread(_stage, request, staged, settings)
        unique = uuid.uuid5(NAMESPACE, idempotency_key) if idempotency_key else uuid.uuid4()
        params = IngestParams(
            request.source,
            request.name or request.path or request.source,
            request.path,
            sha256,
            request.collection,
            request.metadata,
            unique.hex,
        )
        async with inputs.taking:
            known = [job for job in jobs.all() if job.kind == "ingest"]
            if not any(job.idempotency_key == idempotency_key for job in known if idempotency_key):
                needed = {job.params["input"] for job in known if job.state not in ("done", "cancelled")}
                await asyncio.to_thread(inputs.take, params.input, staged, needed)
            return await jobs.submit("ingest", params.as_json(), idempotency_key)
    finally:
        await asyncio.to_thread(shutil.rmtree, staged, ignore_errors=True)


def _stage(request: IngestRequest, staged: Path, settings: Settings) -> str | None:
    """Write an upload to the new folder `staged`, and check the source; return the upload's sha256."""
    staged.mkdir(parents=True)
    sha256 = None
    if request.upload is not None:
        digest = hashlib.sha256()
        request.upload.seek(0)
        with (staged / (ARCHIVE if request.source == "archive" else MANIFEST)).open("wb") as file:
            while chunk := request.upload.read(MIB):
                digest.update(chunk)
                file.write(chunk)
        sha256 = digest.hexdigest()
    with IngestSource(request.source, request.path, staged, settings) as source:
        source.check()
    return sha256

"""`POST /jobs/ingest`: begin a job that ingests a folder, an archive or a manifest."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Header
from pydantic import TypeAdapter, ValidationError
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import Response

from service.errors import InvalidRequest
from service.http.dependencies import Ready
from service.http.openapi import example_reply, request_body
from service.http.parsing import FIELD_BYTES, check_new, is_multipart, read_json, validate_json
from service.http.replies import JsonReply
from service.ingest.inputs import SourceKind
from service.ingest.submission import IngestRequest, submit
from service.jobs.record import job_reply
from service.schemas.fields import DEFAULT_COLLECTION, Metadata
from service.schemas.job_replies import JobReply
from service.schemas.requests import IngestBody, IngestFields
from service.schemas.validation import describe

router = APIRouter(prefix="/jobs", tags=["jobs"])

FORM = {
    "archive": {"type": "string", "format": "binary", "description": "A zip, tar or tar.gz file"},
    "manifest": {"type": "string", "format": "binary", "description": "JSON lines, in place of an archive"},
    "collection": {"type": "string", "default": DEFAULT_COLLECTION},
    "metadata": {"type": "string", "description": "A JSON object that goes with every item"},
}
EXAMPLES = {
    "a folder on the service's machine": {"folder": "photos/2026", "metadata": {"album": "2026"}},
    "a manifest on the service's machine": {"manifest": "birds/manifest.jsonl", "collection": "birds"},
}
JOB = {
    "id": "5f0c9f3e7b1a4c2d",
    "kind": "ingest",
    "state": "running",
    "asked": None,
    "params": {"source": "folder", "name": "photos/2026", "path": "photos/2026", "collection": "default"},
    "created": "2026-01-31T12:00:00.000+00:00",
    "started": "2026-01-31T12:00:00.010+00:00",
    "ended": None,
    "progress": {"done": 512, "total": 2000, "unit": "items", "rate": 48.0, "eta_seconds": 31.0},
    "error_count": 1,
    "errors": [{"item": "notes.bin", "code": "unsupported_media", "message": "notes.bin is ..."}],
    "failure": None,
    "result": None,
}


@router.post(
    "/ingest",
    status_code=202,
    summary="Ingest a folder, an archive or a manifest",
    response_model=JobReply,
    responses=example_reply(JOB, status=202),
    openapi_extra=request_body(IngestBody, EXAMPLES, FORM),
)
async def ingest(
    request: Request,
    call: Ready,
    idempotency_key: Annotated[
        str | None,
        Header(min_length=1, max_length=255, description="Sent twice, it returns the job of the first time"),
    ] = None,
) -> Response:
    """Begin a job that embeds and indexes every item of a folder, an archive or a manifest.

    A JSON body names a path on the service's machine, under one of `ISTHMUS_INGEST_ROOTS`; a form uploads an
    archive or a manifest. `GET /jobs/{id}` returns the progress. It lists the items that cannot be ingested,
    each with the reason; the others are done. The default id of an item is its content's sha256: content
    ingested twice is stored once, and not embedded again.
    """
    runtime = call.runtime
    take = partial(submit, runtime.jobs, runtime.inputs, runtime.settings)
    if is_multipart(request):
        async with _read_upload(request) as submitted:
            record = await take(submitted, idempotency_key)
    else:
        body = await read_json(request, IngestBody)
        kind, path = body.source()
        submitted = IngestRequest(kind, body.collection, path, metadata=body.metadata or {})
        record = await take(submitted, idempotency_key)
    headers = {"location": f"/jobs/{record.id}"}
    return JsonReply(job_reply(record, runtime.jobs.rate(record.id)), 202, headers)


@asynccontextmanager
async def _read_upload(request: Request) -> AsyncIterator[IngestRequest]:
    """Read a form into an `IngestRequest`; its file is deleted at the block's end."""
    async with request.form(max_files=4, max_fields=8, max_part_size=FIELD_BYTES) as form:
        seen: set[str] = set()
        for name, _ in form.multi_items():
            check_new(name, seen)
            seen.add(name)
        files = {name: value for name, value in form.items() if isinstance(value, UploadFile)}
        fields: dict[str, Any] = {name: value for name, value in form.items() if name not in files}
        kinds: dict[str, SourceKind] = {"archive": "archive", "manifest": "manifest"}
        if len(files) != 1 or not files.keys() <= kinds.keys():
            raise InvalidRequest("send one file, in the field 'archive' or 'manifest'", "archive")
        [(name, file)] = files.items()
        metadata = fields.pop("metadata", None)
        try:
            options = IngestFields.model_validate(fields)
        except ValidationError as error:
            raise InvalidRequest(*describe(error.errors())) from error
        given = validate_json(TypeAdapter(Metadata), metadata.encode(), "metadata") if metadata else {}
        shown = file.filename or name
        yield IngestRequest(kinds[name], options.collection, None, file.file, shown, given)

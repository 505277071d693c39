"""`/jobs`: work that outlives a request, looked at and steered."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from service.jobs.record import JobState
from service.jobs.reply import job_reply
from service.json_reply import JsonReply
from service.openapi import example_reply
from service.runtime import Runtime, runtime_of

router = APIRouter(prefix="/jobs", tags=["jobs"])

JOB: dict[str, Any] = {
    "id": "5f0c9f3e7b1a4c2d",
    "kind": "refresh",
    "state": "running",
    "asked": None,
    "params": {"version": "exmcr-3f1a9c04d2b7"},
    "created": "2026-01-31T12:00:00.000+00:00",
    "started": "2026-01-31T12:00:00.010+00:00",
    "ended": None,
    "progress": {"done": 51200, "total": 100000, "unit": "points", "rate": 5100.0, "eta_seconds": 9.6},
    "error_count": 0,
    "errors": [],
    "failure": None,
    "result": None,
}


@router.get("", summary="List jobs", responses=example_reply({"jobs": [JOB]}))
async def list_jobs(
    request: Request,
    kind: Annotated[str | None, Query(description="Only this kind: refresh, ingest")] = None,
    state: Annotated[JobState | None, Query(description="Only in this state")] = None,
) -> Response:
    """Every job that is remembered, the newest first. The latest 200 that have ended are."""
    runtime = runtime_of(request)
    found = [
        each
        for each in reversed(runtime.jobs.all())
        if kind in (None, each.kind) and state in (None, each.state)
    ]
    return JsonReply({"jobs": [job_reply(each, runtime.jobs.rate(each.id)) for each in found]})


@router.get("/{id}", summary="Look at a job", responses=example_reply(JOB))
async def get_job(request: Request, id: str) -> Response:  # noqa: A002
    """How far a job is, how fast, and what went wrong with single items of it.

    `asked` is what was asked of a running job and it has not come to yet. `failure` is why a job failed.
    """
    return JsonReply(_reply(runtime_of(request), id))


@router.post("/{id}/{action}", summary="Pause, resume or cancel a job", responses=example_reply(JOB))
async def steer_job(
    request: Request,
    id: str,  # noqa: A002
    action: Literal["pause", "resume", "cancel"],
) -> Response:
    """Pause a job, let a paused or failed one go on, or end it and clear away what it left.

    A running job comes to it within moments; until then `asked` says what was asked.
    """
    runtime = runtime_of(request)
    steer = {"pause": runtime.jobs.pause, "resume": runtime.jobs.resume, "cancel": runtime.jobs.cancel}
    await steer[action](id)
    return JsonReply(_reply(runtime, id))


@router.delete("/{id}", summary="Cancel or forget a job", responses=example_reply(JOB))
async def delete_job(request: Request, id: str) -> Response:  # noqa: A002
    """Cancel a job; one that has ended is forgotten. Gives the job as it is, or was."""
    runtime = runtime_of(request)
    reply = _reply(runtime, id)
    if runtime.jobs.get(id).has_ended:
        await runtime.jobs.forget(id)
        return JsonReply(reply)
    await runtime.jobs.cancel(id)
    return JsonReply(_reply(runtime, id))


def _reply(runtime: Runtime, job_id: str) -> dict[str, Any]:
    return job_reply(runtime.jobs.get(job_id), runtime.jobs.rate(job_id))

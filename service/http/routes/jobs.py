"""`/jobs`: list, watch, pause, resume, cancel and forget work that outlives a request."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from starlette.responses import Response

from service.http.dependencies import Loaded
from service.http.openapi import example_reply
from service.http.replies import JsonReply
from service.jobs.record import JobState, job_reply
from service.jobs.runner import JobRunner
from service.schemas.job_replies import JobReply, JobsReply

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


@router.get("", summary="List jobs", response_model=JobsReply, responses=example_reply({"jobs": [JOB]}))
async def list_jobs(
    call: Loaded,
    kind: Annotated[str | None, Query(description="Only this kind: refresh, ingest")] = None,
    state: Annotated[JobState | None, Query(description="Only in this state")] = None,
) -> Response:
    """Return every job on record, the newest first. Of those that have ended the latest 200 are kept."""
    jobs = call.runtime.jobs
    found = [
        each for each in reversed(jobs.all()) if kind in (None, each.kind) and state in (None, each.state)
    ]
    return JsonReply({"jobs": [job_reply(each, jobs.rate(each.id)) for each in found]})


@router.get("/{id}", summary="Look at a job", response_model=JobReply, responses=example_reply(JOB))
async def get_job(call: Loaded, id: str) -> Response:  # noqa: A002
    """Return a job's state, its progress and rate, and the errors of its items.

    `asked` is a request (pause, cancel) that a running job has not obeyed yet. `failure` is why a job failed.
    """
    return JsonReply(_reply(call.runtime.jobs, id))


@router.post(
    "/{id}/{action}",
    summary="Pause, resume or cancel a job",
    response_model=JobReply,
    responses=example_reply(JOB),
)
async def steer_job(
    call: Loaded,
    id: str,  # noqa: A002
    action: Literal["pause", "resume", "cancel"],
) -> Response:
    """Pause a job, resume a paused or failed one, or cancel it and clear away what it left.

    A running job obeys within moments; until then `asked` has the request.
    """
    jobs = call.runtime.jobs
    await {"pause": jobs.pause, "resume": jobs.resume, "cancel": jobs.cancel}[action](id)
    return JsonReply(_reply(jobs, id))


@router.delete(
    "/{id}", summary="Cancel or forget a job", response_model=JobReply, responses=example_reply(JOB)
)
async def delete_job(call: Loaded, id: str) -> Response:  # noqa: A002
    """Cancel a job, or forget one that has ended. Returns the job as it is, or was."""
    jobs = call.runtime.jobs
    reply = _reply(jobs, id)
    if jobs.get(id).has_ended:
        await jobs.forget(id)
        return JsonReply(reply)
    await jobs.cancel(id)
    return JsonReply(_reply(jobs, id))


def _reply(jobs: JobRunner, job_id: str) -> dict[str, Any]:
    return job_reply(jobs.get(job_id), jobs.rate(job_id))

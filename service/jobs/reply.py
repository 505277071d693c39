"""How a job looks in a reply: its record in words for its owner, with rate and remaining time."""

from typing import Any

from service.jobs.record import JobRecord


def job_reply(record: JobRecord, rate: float | None) -> dict[str, Any]:
    """A job's JSON. `rate` is in units a second, None for a job that does not run."""
    left = None if record.total is None else max(0, record.total - record.done)
    return {
        "id": record.id,
        "kind": record.kind,
        "state": record.state,
        "asked": record.asked,
        "params": dict(record.params),
        "created": record.created,
        "started": record.started,
        "ended": record.ended,
        "progress": {
            "done": record.done,
            "total": record.total,
            "unit": record.unit,
            "rate": None if rate is None else round(rate, 1),
            "eta_seconds": round(left / rate, 1) if rate and left is not None else None,
        },
        "error_count": record.fault_count,
        "errors": [{"item": each.item, "code": each.code, "message": each.message} for each in record.faults],
        "failure": None if record.failure is None else dict(record.failure),
        "result": None if record.result is None else dict(record.result),
    }

"""The record of a job: its parameters, its progress, its errors, and the action requested of it.

Holds `JobRecord`, its JSON form, which `service.jobs.store` keeps and reads back, and its reply.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

from connectors.errors import IsthmusError

FORMAT = "isthmus.job/1"

JobState = Literal["queued", "running", "paused", "done", "failed", "cancelled"]
ENDED: frozenset[JobState] = frozenset({"done", "failed", "cancelled"})
RequestedAction = Literal["pause", "cancel"]

MAX_FAULTS = 1000
"""Items whose errors a job keeps; the others are counted."""


@dataclass(frozen=True, slots=True)
class Fault:
    """The error of one item of a job; the others went on."""

    item: str
    code: str
    message: str

    @classmethod
    def of(cls, item: str, error: IsthmusError) -> "Fault":
        """Return the fault of an item that failed with this error."""
        return cls(item, error.code, error.message)


@dataclass(frozen=True, slots=True)
class JobRecord:
    """One job. Times are ISO 8601 in UTC.

    `done` of `total` `unit`s (None while unknown) are done. `checkpoint` is the kind's own: where to go on
    after a crash. `asked` is an action requested of a running job that it has not taken yet. `failure` says
    why a failed job ended; `faults` are single items', `fault_count` counts all of them.
    """

    id: str
    kind: str
    params: Mapping[str, Any]
    unit: str
    created: str
    state: JobState = "queued"
    asked: RequestedAction | None = None
    started: str | None = None
    ended: str | None = None
    done: int = 0
    total: int | None = None
    checkpoint: Mapping[str, Any] | None = None
    result: Mapping[str, Any] | None = None
    failure: Mapping[str, str] | None = None
    faults: tuple[Fault, ...] = ()
    fault_count: int = 0
    idempotency_key: str | None = None

    @property
    def has_ended(self) -> bool:
        """True once it does nothing more by itself."""
        return self.state in ENDED

    def with_faults(self, more: tuple[Fault, ...]) -> "JobRecord":
        """Return the record with more faults, of which the first `MAX_FAULTS` are kept."""
        kept = (self.faults + more)[:MAX_FAULTS]
        return replace(self, faults=kept, fault_count=self.fault_count + len(more))

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON, for the disk."""
        return {"format": FORMAT, **asdict(self)}


def record_from_json(content: Mapping[str, Any]) -> JobRecord:
    """Return the record that `to_json` wrote. Raises `ValueError`, `KeyError` or `TypeError` for another."""
    fields = dict(content)
    if fields.pop("format") != FORMAT:
        raise ValueError(f"its format is not {FORMAT}")
    fields["faults"] = tuple(Fault(**each) for each in fields["faults"])
    return JobRecord(**fields)


def now() -> str:
    """Return the time as records write it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def job_reply(record: JobRecord, rate: float | None) -> dict[str, Any]:
    """Return a `JobReply`. `rate` is in units per second, None for a job that does not run."""
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

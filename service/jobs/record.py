"""The record of a job: what was asked, how far it is, what went wrong, and what is to happen to it.

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
    """What went wrong with one item of a job; the others went on."""

    item: str
    code: str
    message: str

    @classmethod
    def of(cls, item: str, error: IsthmusError) -> "Fault":
        """The fault that an error means for an item."""
        return cls(item, error.code, error.message)


@dataclass(frozen=True, slots=True)
class JobRecord:
    """One job. Times are ISO 8601 in UTC.

    `done` of `total` (None while nobody knows) `unit`s are behind it. `checkpoint` is the kind's own: where
    to go on after a crash. `asked` is what was asked of a job that runs and has not come to it yet.
    `failure` says why a failed job ended; `faults` are single items', `fault_count` counts all of them.
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
        """Whether nothing more comes of it by itself."""
        return self.state in ENDED

    def with_faults(self, more: tuple[Fault, ...]) -> "JobRecord":
        """The record with more faults in it, of which the first `MAX_FAULTS` are kept."""
        kept = (self.faults + more)[:MAX_FAULTS]
        return replace(self, faults=kept, fault_count=self.fault_count + len(more))

    def to_json(self) -> dict[str, Any]:
        """The record as JSON, for the disk."""
        return {"format": FORMAT, **asdict(self)}


def record_from_json(content: Mapping[str, Any]) -> JobRecord:
    """The record that `to_json` wrote. Raises `ValueError`, `KeyError` or `TypeError` where it is none."""
    fields = dict(content)
    if fields.pop("format") != FORMAT:
        raise ValueError(f"its format is not {FORMAT}")
    fields["faults"] = tuple(Fault(**each) for each in fields["faults"])
    return JobRecord(**fields)


def now() -> str:
    """The moment it is, as records write it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def job_reply(record: JobRecord, rate: float | None) -> dict[str, Any]:
    """Return a `JobReply`. `rate` is in units a second, None for a job that does not run."""
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

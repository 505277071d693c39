"""What is known of a job: what was asked, how far it is, what went wrong, and what is to happen to it.

Holds `JobRecord` and its JSON form, which is what the disk keeps and what `service.jobs.store` reads back.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

from connectors.errors import IsthmusError

FORMAT = "isthmus.job/1"

JobState = Literal["queued", "running", "paused", "done", "failed", "cancelled"]
ENDED: frozenset[JobState] = frozenset({"done", "failed", "cancelled"})
Asked = Literal["pause", "cancel"]

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
    asked: Asked | None = None
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

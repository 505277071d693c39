"""The replies that show jobs; see `service.schemas.replies`."""

from typing import Literal

from pydantic import BaseModel, JsonValue


class JobProgress(BaseModel):
    """A job's progress: `done` of `total` (null while unknown), at `rate` per second."""

    done: int
    total: int | None
    unit: str
    rate: float | None
    eta_seconds: float | None


class JobFault(BaseModel):
    """The reason why one item of a job failed."""

    item: str
    code: str
    message: str


class JobFailure(BaseModel):
    """The reason why a job failed."""

    code: str
    message: str


class IngestJobParams(BaseModel):
    """The parameters of an ingest job; `path` is null where the items were uploaded."""

    source: Literal["folder", "archive", "manifest"]
    name: str
    path: str | None
    sha256: str | None
    collection: str
    metadata: dict[str, JsonValue]
    input: str


class IngestJobResult(BaseModel):
    """The number of items an ingest job stored, found there already, and failed on.

    `truncated` of those stored are texts that are longer than the encoder reads.
    """

    stored: int
    unchanged: int
    failed: int
    truncated: int = 0


class RefreshJobParams(BaseModel):
    """The parameters of a refresh: the version of the connector that is switched to."""

    version: str


class RefreshJobResult(BaseModel):
    """The outcome of a refresh: the version it switched from, and the number of points by outcome."""

    version: str
    former: str
    points: int
    projected: int
    unchanged: int
    removed: int
    seconds: float


class JobReply(BaseModel):
    """A job. `asked` is a request (pause, cancel) that a running one has not obeyed yet."""

    id: str
    kind: str
    state: Literal["queued", "running", "paused", "done", "failed", "cancelled"]
    asked: Literal["pause", "cancel"] | None
    params: IngestJobParams | RefreshJobParams
    created: str
    started: str | None
    ended: str | None
    progress: JobProgress
    error_count: int
    errors: list[JobFault]
    failure: JobFailure | None
    result: IngestJobResult | RefreshJobResult | None

    @property
    def has_ended(self) -> bool:
        """True once it does nothing more by itself."""
        return self.state in ("done", "failed", "cancelled")


class JobsReply(BaseModel):
    """The reply of `GET /jobs`: the newest first."""

    jobs: list[JobReply]

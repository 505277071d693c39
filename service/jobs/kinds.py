"""The kinds of job a service knows: the one place where a new kind is registered."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from service.jobs.refresh import RefreshJob
from service.jobs.work import JobKind

if TYPE_CHECKING:
    from service.runtime import Runtime


def job_kinds(runtime: "Runtime") -> Sequence[JobKind]:
    """Every kind, over the loaded runtime it works with."""
    from service.ingest.job import IngestJob  # which needs the runtime's module

    return (RefreshJob(runtime), IngestJob(runtime))

"""What an ingest job was asked for, as its record keeps it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

SourceKind = Literal["folder", "archive", "manifest"]


@dataclass(frozen=True, slots=True)
class IngestParams:
    """Where items come from and where they go.

    `path` is on the service's machine, None for what was uploaded; that has a `sha256`. `metadata` go with
    every item, and `input` names the folder of what the job was given.
    """

    source: SourceKind
    name: str
    path: str | None
    sha256: str | None
    collection: str
    metadata: Mapping[str, Any]
    input: str

    def as_json(self) -> dict[str, Any]:
        """The parameters as a job's record has them."""
        return asdict(self)

"""The records of jobs in a folder: one JSON file per job, replaced whole and synced.

After a crash each job is as it was last kept.
"""

import json
import threading
from pathlib import Path

from connectors.errors import IntegrityError
from service.durable import sync_folder, write_json
from service.jobs.record import JobRecord, record_from_json

KEPT_ENDED = 200
"""Most ended jobs that are remembered; beyond that the oldest are forgotten."""


class JobStore:
    """Records by job id, in memory and under `folder`. Thread-safe.

    Raises `IntegrityError` where a file in the folder is no job's record.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)
        found = [_read(path) for path in folder.glob("*.json")]
        self._records = {each.id: each for each in sorted(found, key=lambda each: each.created)}

    def all(self) -> list[JobRecord]:
        """Return every record, the oldest job first."""
        with self._lock:
            return list(self._records.values())

    def get(self, job_id: str) -> JobRecord | None:
        """Return the record of a job, None where there is none."""
        with self._lock:
            return self._records.get(job_id)

    def note(self, record: JobRecord) -> None:
        """Replace a record in memory; the next `keep` writes it. Never waits for the disk."""
        with self._lock:
            self._records[record.id] = record

    def keep(self, job_id: str) -> None:
        """Write a job's present record to the disk: it survives a `kill -9` when this returns."""
        with self._writing:
            with self._lock:
                record = self._records[job_id]
                ended = [
                    each
                    for each in self._records.values()
                    if each.has_ended and each.asked is None and each.id != job_id
                ]
            ended.sort(key=lambda each: each.ended or "")
            for each in ended[: max(0, len(ended) + record.has_ended - KEPT_ENDED)]:
                self._remove(each.id)
            write_json(self._folder / f"{record.id}.json", record.to_json())

    def forget(self, job_id: str) -> None:
        """Remove a job's record."""
        with self._writing:
            self._remove(job_id)
            sync_folder(self._folder)

    def _remove(self, job_id: str) -> None:
        with self._lock:
            self._records.pop(job_id, None)
        (self._folder / f"{job_id}.json").unlink(missing_ok=True)


def _read(path: Path) -> JobRecord:
    try:
        return record_from_json(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"{path} is no job's record ({error}); move it away") from error

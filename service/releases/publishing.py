"""The targets that connectors are published to: a running service, or a data directory without one.

Both are a `Target`; `target_of` returns the one a user means. In a data directory nothing is projected: the
service does that at its next start.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from service.client import reaching
from service.errors import NotFound, ServiceError
from service.releases.store import Active, ReleaseStore
from service.schemas.connector_replies import ReleaseReply
from service.schemas.job_replies import JobReply, RefreshJobResult
from service.settings import Settings

POLL_SECONDS = 0.2

Shown = Callable[[JobReply], None]
"""A callback with the job, again and again, while it runs."""


@dataclass(frozen=True)
class Listing:
    """The releases, the active one and the one before it."""

    active: str
    former: str | None
    available: list[ReleaseReply]


class Target(Protocol):
    """A target that connectors are published to."""

    def listing(self) -> Listing:
        """Return the active and the former version, and every release there is."""

    def publish(self, directories: Sequence[Path], onto: str | None = None) -> str:
        """Publish connector directories as one release, onto `onto` or the active one; return its version."""

    def activate(self, version: str, shown: Shown) -> str:
        """Switch to a release; return a sentence on the outcome."""


class RunningService:
    """A service by its URL. Raises `RequestFailed`, or `ServiceError` where none answers."""

    def __init__(self, url: str) -> None:
        self._url = url

    def listing(self) -> Listing:
        """See `Target.listing`."""
        with reaching(self._url) as client:
            found = client.connectors()
        return Listing(found.active, found.former, found.available)

    def publish(self, directories: Sequence[Path], onto: str | None = None) -> str:
        """Publish the directories one after another, each onto the one before; see `Target.publish`."""
        with reaching(self._url) as client:
            for directory in directories:
                onto = client.publish_connector(directory, onto).version
        return str(onto)

    def activate(self, version: str, shown: Shown) -> str:
        """Switch and wait for the end; the service goes on if this is interrupted. See `Target.activate`."""
        with reaching(self._url) as client:
            job = client.activate_connector(version)
            while not job.has_ended and job.state != "paused":
                shown(job)
                time.sleep(POLL_SECONDS)
                job = client.job(job.id)
        shown(job)
        done = job.result
        if job.state != "done" or not isinstance(done, RefreshJobResult):
            reason = job.failure.message if job.failure else f"job {job.id} is {job.state}"
            raise ServiceError(f"{version} was not activated: {reason}")
        return (
            f"{version} is active: {done.projected:,} points projected, {done.unchanged:,} unchanged, "
            f"in {done.seconds:.1f} s; {done.former} is kept for isthmus connectors rollback"
        )


class DataDirectory:
    """A data directory, with the settings' bundle. Raises what `ReleaseStore` does."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise NotFound(f"there is no data directory {folder}")
        self._settings = Settings()
        self._store = ReleaseStore(folder / "connectors", self._settings.bundle)

    def listing(self) -> Listing:
        """See `Target.listing`; the active release is the one that the next start serves."""
        active, former = self._active(), self._store.active().former
        releases = [ReleaseReply(**each.reply(active, former)) for each in self._store.all()]
        return Listing(active, former, releases)

    def publish(self, directories: Sequence[Path], onto: str | None = None) -> str:
        """See `Target.publish`."""
        return self._store.publish(directories, self._store.find(onto or self._active())).version

    def activate(self, version: str, shown: Shown) -> str:
        """See `Target.activate`; the next start refreshes to it."""
        release, active = self._store.find(version), self._active()
        bundled = self._store.bundled(self._settings.connectors).version
        former = self._store.active().former if active == version else active
        chosen = None if release.version == bundled else release.version
        self._store.activate(Active(chosen, former, self._settings.connectors))
        return f"{version} is to be active: the service refreshes to it when it starts next"

    def _active(self) -> str:
        active, connectors = self._store.active(), self._settings.connectors
        if active.version is not None and active.connectors == connectors:
            return active.version
        return self._store.bundled(connectors).version


def target_of(name: str) -> Target:
    """Return the target a user names: a URL is a running service, anything else a data directory."""
    return RunningService(name) if name.startswith(("http://", "https://")) else DataDirectory(Path(name))


def former_of(target: Target) -> str:
    """Return the release that was active before. Raises `ServiceError` where there was none."""
    former = target.listing().former
    if former is None:
        raise ServiceError("there is nothing to go back to: no connector was activated yet")
    return former

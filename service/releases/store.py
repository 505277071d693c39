"""The connectors a service can switch to: its bundle's own, and those published to its data directory.

    FOLDER/active.json        the release activated last, and the one before it
    FOLDER/releases/VERSION/  release.json, calibration.json and one connector directory per leaf;
                              served.json: the encoders it was served with

A *release* is a set of connectors that together make a unified space. Releases that were served are kept
here too, with the fingerprints of the encoders in use: after the bundle changes, the index can still be
refreshed from them, and native vectors of other encoders are recognised.
"""

import json
import logging
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from connectors.bundle import bundle_directory, read_manifest
from connectors.calibration import Calibration
from connectors.connector import (
    MANIFEST_FILE,
    WEIGHTS_FILE,
    ConnectorManifest,
    load_connector,
    read_connector_manifest,
)
from connectors.errors import ConfigError, FingerprintMismatch, IntegrityError, IsthmusError
from connectors.space import UnifiedSpace, version_of
from connectors.staged_directory import staged_directory
from service.durable import sync_folder, sync_tree, write_json
from service.errors import ConnectorUnfit, NotFound

FORMAT = "isthmus.release/1"
RELEASE_FILE = "release.json"
SERVED_FILE = "served.json"
CALIBRATION_FILE = "calibration.json"

_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_+.-]{0,99}")

log = logging.getLogger("isthmus")


@dataclass(frozen=True)
class Release:
    """A set of connectors. `origin` is `published`, or `bundle:` and the name of its set.

    `encoders` are the fingerprints it was served with, by space; None where it was not. `calibrated` says
    whether its calibration was fitted to it; else it is that of the release it was published onto.
    """

    version: str
    origin: str
    directories: tuple[Path, ...]
    manifests: tuple[ConnectorManifest, ...]
    calibration: Path | None
    calibrated: bool
    created: str | None = None
    encoders: Mapping[str, str] | None = None

    def reply(self, active: str, former: str | None) -> dict[str, Any]:
        """Return a `ReleaseReply`."""
        return {
            "version": self.version,
            "origin": self.origin,
            "active": self.version == active,
            "former": self.version == former,
            "calibrated": self.calibrated,
            "created": self.created,
            "connectors": [each.version for each in self.manifests],
        }

    def load(self, space: UnifiedSpace) -> UnifiedSpace:
        """Return the space of these connectors and the encoders of `space`.

        Raises `FingerprintMismatch` where they were trained on other encoders, `ConnectorUnfit` where they
        do not embed the modalities that `space` does, and what `load_connector` raises.
        """
        calibration = Calibration.load(self.calibration) if self.calibration else Calibration.none()
        made = space.with_connectors([load_connector(each) for each in self.directories], calibration)
        if made.modalities != space.modalities:
            raise ConnectorUnfit(
                f"connector {self.version} embeds {', '.join(made.modalities)}, but this service embeds "
                f"{', '.join(space.modalities)}; publish it together with connectors for the same"
            )
        return made


@dataclass(frozen=True)
class Active:
    """The release activated last, the one before it, and the setting it was activated under."""

    version: str | None = None
    former: str | None = None
    connectors: str | None = None


class ReleaseStore:
    """The releases of a service. Its calls read and write files: not for the event loop.

    The folder is made by the first call that writes to it.
    """

    def __init__(self, folder: Path, bundle: str | Path) -> None:
        self._folder = folder
        self._bundle = bundle_directory(bundle)

    def all(self) -> list[Release]:
        """Return every readable release: the data directory's, the oldest first, then the bundle's."""
        found: dict[str, Release] = {}
        for path in (self._folder / "releases").glob(f"*/{RELEASE_FILE}"):
            try:
                release = self._read(path.parent.name)
            except IntegrityError as error:
                log.warning("%s", error.message)
            else:
                found[release.version] = release
        kept = sorted(found.values(), key=lambda each: each.created or "")
        bundled = {each.version: each for each in self._bundled()}
        return [each for each in kept if each.version not in bundled] + list(bundled.values())

    def find(self, version: str) -> Release:
        """Return a release by its version. Raises `NotFound`, or `IntegrityError` where it is damaged."""
        for each in self._bundled():
            if each.version == version:
                return each
        if _VERSION.fullmatch(version) and (self._path(version) / RELEASE_FILE).is_file():
            return self._read(version)
        raise NotFound(
            f"there is no connector {version[:100]!r}; GET /connectors lists them, "
            "and isthmus connectors publish adds one",
            "version",
        )

    def publish(self, directories: Sequence[Path], onto: Release, calibration: Path | None = None) -> Release:
        """Add connectors, each in the place of those of `onto` for the same leaf; return the new release.

        The other connectors stay; one without a base (C-MCR) replaces them all. `calibration` is a file
        fitted to the new set; the default is a `calibration.json` in the last directory. Publishing the same
        again returns the same release. Raises what `load_connector` does, `ConfigError` where they do not
        meet.
        """
        chosen = dict(zip(onto.directories, onto.manifests, strict=True))
        for directory in directories:
            new = load_connector(directory).manifest
            chosen = _replaced(chosen, directory, new)
        version = version_of([manifest.version for manifest in chosen.values()])
        own = calibration or _beside(directories[-1])
        if own is not None:
            Calibration.load(own)
        return self._write(
            version, "published", list(chosen), own or onto.calibration, calibrated=own is not None
        )

    def keep(self, release: Release, encoders: Mapping[str, str]) -> None:
        """Keep a served release, with the fingerprints of the encoders it is served with."""
        if not (self._path(release.version) / RELEASE_FILE).is_file():
            self._write(
                release.version,
                release.origin,
                release.directories,
                release.calibration,
                calibrated=release.calibrated,
            )
        known = {**(release.encoders or {}), **encoders}
        if known != release.encoders:
            write_json(self._path(release.version) / SERVED_FILE, known)

    def active(self) -> Active:
        """Return the activation last made; an empty one where the service follows its bundle."""
        path = self._folder / "active.json"
        if not path.exists():
            return Active()
        try:
            return Active(**json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise IntegrityError(
                f"{path} cannot be read ({error}); remove it to follow the bundle"
            ) from error

    def activate(self, active: Active) -> None:
        """Record an activation, durably."""
        self._folder.mkdir(parents=True, exist_ok=True)
        write_json(self._folder / "active.json", asdict(active))

    def bundled(self, connectors: str | None) -> Release:
        """Return the bundle's release of that name, its default one for None."""
        name = connectors or read_manifest(self._bundle).default
        return next(each for each in self._bundled() if each.origin == f"bundle:{name}")

    def _bundled(self) -> list[Release]:
        manifest = read_manifest(self._bundle)
        calibration = self._bundle / manifest.calibration if manifest.calibration else None
        releases = []
        for name, paths in manifest.connectors.items():
            directories = tuple(self._bundle / path for path in paths)
            manifests = tuple(read_connector_manifest(each) for each in directories)
            version = version_of([each.version for each in manifests])
            releases.append(
                Release(
                    version,
                    f"bundle:{name}",
                    directories,
                    manifests,
                    calibration,
                    calibrated=name == manifest.default,
                    encoders=self._served(version),
                )
            )
        return releases

    def _path(self, version: str) -> Path:
        return self._folder / "releases" / version

    def _write(
        self,
        version: str,
        origin: str,
        directories: Sequence[Path],
        calibration: Path | None,
        *,
        calibrated: bool,
    ) -> Release:
        if not _VERSION.fullmatch(version):
            raise ConfigError(f"{version[:100]!r} cannot be a version: a method is letters, digits, _ + . -")
        names = [f"{number}" for number in range(len(directories))]
        content: dict[str, Any] = {
            "format": FORMAT,
            "version": version,
            "origin": origin,
            "connectors": names,
            "calibrated": calibrated,
            "created": datetime.now(UTC).isoformat(timespec="milliseconds"),
        }
        with staged_directory(self._path(version)) as staging:
            for name, directory in zip(names, directories, strict=True):
                (staging / name).mkdir()
                for file in (WEIGHTS_FILE, MANIFEST_FILE):
                    shutil.copyfile(directory / file, staging / name / file)
            if calibration is not None:
                shutil.copyfile(calibration, staging / CALIBRATION_FILE)
            (staging / RELEASE_FILE).write_text(json.dumps(content, indent=1), encoding="utf-8")
            sync_tree(staging)
        sync_folder(self._folder / "releases")
        return self._read(version)

    def _served(self, version: str) -> Mapping[str, str] | None:
        """Return the encoders a release was served with, None where it was not."""
        path = self._path(version) / SERVED_FILE
        try:
            return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None
        except (ValueError, TypeError) as error:
            raise IntegrityError(f"{path} cannot be read ({error}); restore it from a backup") from error

    def _read(self, version: str) -> Release:
        path = self._path(version)
        try:
            content = json.loads((path / RELEASE_FILE).read_text(encoding="utf-8"))
            if content["format"] != FORMAT:
                raise ValueError(f"its format is {content['format']}")
            directories = tuple(path / name for name in content["connectors"])
            manifests = tuple(read_connector_manifest(each) for each in directories)
            found = version_of([each.version for each in manifests])
            if found != version:
                raise ValueError(f"its connectors are {found}")
            return Release(
                version,
                content["origin"],
                directories,
                manifests,
                _beside(path),
                content["calibrated"],
                content["created"],
                self._served(version),
            )
        except (ValueError, KeyError, TypeError, IsthmusError) as error:
            raise IntegrityError(f"{path} is no release of connectors ({error}); remove it") from error


def check_encoders(release: Release, encoders: Mapping[str, str]) -> None:
    """Raise `FingerprintMismatch` where a release whose vectors are stored was served with other encoders."""
    for space, fingerprint in (release.encoders or {}).items():
        if space in encoders and encoders[space] != fingerprint:
            raise FingerprintMismatch(
                f"the stored {space} vectors were made by the encoder {fingerprint[:19]}..., but "
                f"{encoders[space][:19]}... is in use: a connector can be changed without embedding anew, an "
                "encoder cannot. Serve them with the bundle they were made with, or embed the media into "
                "another data directory"
            )


def _replaced(
    chosen: Mapping[Path, ConnectorManifest], directory: Path, new: ConnectorManifest
) -> dict[Path, ConnectorManifest]:
    """Return a set of connectors with one more, in the place of those for the same leaves."""
    if new.base is None or any(each.base != new.base for each in chosen.values()):
        return {directory: new}
    made: dict[Path, ConnectorManifest] = {}
    for path, manifest in chosen.items():
        if not manifest.leaves & new.leaves:
            made[path] = manifest
        elif directory not in made:
            made[directory] = new
    return {**made, directory: new}


def _beside(directory: Path) -> Path | None:
    path = directory / CALIBRATION_FILE
    return path if path.is_file() else None

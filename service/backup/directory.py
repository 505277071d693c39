"""Backups of a data directory: taken while the service runs, checked file by file when they are restored.

A backup is a directory: `manifest.json` {format: "isthmus.backup/1", created, collections, files: {path:
{bytes, sha256}}}, `index/`, `media/` and `connectors/` (where there are some) as the data directory has them.
Each collection is as of one moment; every file its points name is in it. `service.backup.stream` sends one as
it is made.
"""

import hashlib
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from connectors.errors import ConfigError, IntegrityError, MissingFiles
from connectors.staged_directory import staged_directory
from service.durable import sync_tree
from service.errors import IndexUnavailable
from service.index.backend import Generation, IndexBackend
from service.index.edge.catalogue import Catalogue
from service.index.edge.edge_backend import EdgeBackend
from service.media.store import WRITERS, MediaStore

FORMAT = "isthmus.backup/1"
MANIFEST = "manifest.json"
PARTS = ("connectors", "media", "index")
"""The folders of a backup. The index is restored last: its points never lack anything."""


def write_backup(backend: IndexBackend, media: MediaStore, connectors: Path, target: Path) -> dict[str, Any]:
    """Back up every collection and its media to the new directory `target`; return the manifest.

    The releases in the folder `connectors` are kept too. Reads and writes go on. Raises `ConfigError` where
    `target` exists, or the index is on a server or in local mode, which have other means: Qdrant's snapshots,
    and `service.backup.export`.
    """
    if target.exists():
        raise ConfigError(f"{target} exists; name a new directory for the backup")
    with staged_directory(target) as staging, media.nothing_deleted():
        collections = copy_data(backend, connectors, staging)
        for key in media:
            place = staging / media_name(key)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(media.read(key))
        files = {path.relative_to(staging).as_posix(): describe_file(path) for path in files_in(staging)}
        (staging / MANIFEST).write_bytes(manifest_bytes(collections, files))
        sync_tree(staging)
    return check_manifest(target)


def copy_data(backend: IndexBackend, connectors: Path, target: Path) -> list[str]:
    """Copy what every collection reads now, and the connectors, to a folder; return the collections' names.

    Raises `ConfigError` for an index that is not of this data directory.
    """
    if not isinstance(backend, EdgeBackend):
        raise ConfigError(
            "only an index in the data directory is backed up; a Qdrant server has snapshots of its own, and "
            "any collection can be exported"
        )
    index = target / "index"
    (index / "shards").mkdir(parents=True)
    catalogue = Catalogue(index / "catalogue.json")
    for collection in sorted(backend.current()):
        shard = f"{len(catalogue.entries)}"
        if (generation := _copy_read(backend, collection, index / "shards" / shard)) is not None:
            catalogue.add(collection, generation, shard)
            catalogue.switch({collection: generation.name})
    if connectors.exists():
        unfinished = shutil.ignore_patterns(".*", "*.new")
        shutil.copytree(connectors, target / "connectors", ignore=unfinished)
    return sorted(catalogue.reads)


def media_name(key: str) -> str:
    """Return the path, in a backup, of a media key's file."""
    return f"media/files/{key[:2]}/{key}"


def describe_file(path: Path) -> dict[str, Any]:
    """Return a file's entry in a manifest."""
    return {"bytes": path.stat().st_size, "sha256": _sha256(path)}


def manifest_bytes(collections: list[str], files: dict[str, dict[str, Any]]) -> bytes:
    """Return the manifest of a backup made now, as JSON."""
    created = datetime.now(UTC).isoformat(timespec="seconds")
    manifest = {"format": FORMAT, "created": created, "collections": collections, "files": files}
    return json.dumps(manifest, indent=1).encode()


def check_manifest(backup: Path) -> dict[str, Any]:
    """Return the manifest of a backup, without a look at its files.

    Raises `MissingFiles` where there is no backup, `IntegrityError` where its manifest is not a backup's.
    """
    try:
        manifest = dict(json.loads((backup / MANIFEST).read_text(encoding="utf-8")))
        if manifest["format"] != FORMAT:
            raise ValueError(f"its format is {manifest['format']}")
        names = dict(manifest["files"])
    except FileNotFoundError:
        raise MissingFiles(f"{backup} is no backup: it has no {MANIFEST}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"{backup / MANIFEST} is not a backup's: {error}") from error
    for name in names:
        if ".." in Path(name).parts or Path(name).is_absolute():
            raise IntegrityError(f"{backup / MANIFEST} names {name}, outside the backup")
    return manifest


def check_backup(backup: Path) -> dict[str, Any]:
    """Return the manifest of a backup, after checking that every file is as it was written.

    Raises what `check_manifest` does, `MissingFiles` for a file that is gone, and `IntegrityError` for one
    that differs.
    """
    manifest = check_manifest(backup)
    for name, expected in manifest["files"].items():
        path = backup / name
        if not path.is_file():
            raise MissingFiles(f"{path} is missing from the backup; take it from another copy")
        if describe_file(path) != expected:
            raise IntegrityError(f"{path} is not as it was backed up; take it from another copy")
    return manifest


def restore_backup(backup: Path, data_dir: Path, media_url: str | None = None) -> dict[str, Any]:
    """Restore a backup into a data directory that has neither index nor media yet; return the manifest.

    With `media_url` the media are kept there; see `MediaStore.open`. Raises what `check_backup` does, and
    `ConfigError` where there is something already.
    """
    manifest = check_backup(backup)
    for name in PARTS:
        if (data_dir / name).exists():
            raise ConfigError(f"{data_dir / name} exists; restore into a new data directory, or move it away")
    for name in PARTS:
        if name == "media" and media_url:
            _send_media(backup, manifest, MediaStore.open(data_dir / name, media_url))
            continue
        with staged_directory(data_dir / name) as staging:
            for file in manifest["files"]:
                if file.startswith(f"{name}/"):
                    place = staging / Path(file).relative_to(name)
                    place.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(backup / file, place)
            sync_tree(staging)
    return manifest


def _send_media(backup: Path, manifest: dict[str, Any], store: MediaStore) -> None:
    names = [name for name in manifest["files"] if name.startswith("media/")]
    with store.adding() as media:
        for start in range(0, len(names), WRITERS):
            for name in names[start : start + WRITERS]:
                media.put_soon((backup / name).read_bytes())
            media.wait()


def files_in(folder: Path) -> list[Path]:
    """Return every file under a folder, in order."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _copy_read(backend: EdgeBackend, collection: str, target: Path) -> Generation | None:
    """Copy the generation a collection reads and return it, or None where it was deleted meanwhile."""
    while (found := backend.current().get(collection)) is not None:
        try:
            backend.copy(found.name, target)
            return found
        except IndexUnavailable:
            shutil.rmtree(target, ignore_errors=True)
            if (now := backend.current().get(collection)) is not None and now.name == found.name:
                raise
    return None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

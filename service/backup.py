"""Backups of a data directory: taken while the service runs, checked file by file when they are restored.

A backup is a directory: `manifest.json` {format: "isthmus.backup/1", created, collections, files: {path:
{bytes, sha256}}}, `index/` and `media/` as the data directory has them. Each collection is as of one
moment; every file its points name is in it.
"""

import hashlib
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from connectors.errors import ConfigError, IntegrityError, MissingFiles
from connectors.staged_directory import staged_directory
from service.index.catalogue import Catalogue
from service.index.edge_engine import EdgeEngine
from service.index.engine import Engine
from service.index.shard_copy import sync_tree
from service.media_store import MediaStore

FORMAT = "isthmus.backup/1"


def write_backup(engine: Engine, media: MediaStore, target: Path) -> dict[str, Any]:
    """Back up every collection and its media to the new directory `target`; gives the manifest.

    Reads and writes go on. Raises `ConfigError` where `target` exists, or the index is on a server or in
    local mode, which have other means: Qdrant's snapshots, and `service.export`.
    """
    if not isinstance(engine, EdgeEngine):
        raise ConfigError(
            "only an index in the data directory is backed up; a Qdrant server has snapshots of its own, and "
            "any collection can be exported"
        )
    if target.exists():
        raise ConfigError(f"{target} exists; name a new directory for the backup")
    with staged_directory(target) as staging, media.nothing_deleted():
        (staging / "index" / "shards").mkdir(parents=True)
        catalogue = Catalogue(staging / "index" / "catalogue.json")
        for collection, generation in sorted(engine.current().items()):
            shard = f"{len(catalogue.entries)}"
            engine.copy(generation.name, staging / "index" / "shards" / shard)
            catalogue.add(collection, generation, shard)
            catalogue.switch(collection, generation.name)
        for key in media:
            place = staging / "media" / "files" / key[:2] / key
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(media.path(key), place)
        manifest = {
            "format": FORMAT,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "collections": sorted(catalogue.reads),
            "files": {
                path.relative_to(staging).as_posix(): {"bytes": path.stat().st_size, "sha256": _sha256(path)}
                for path in _files(staging)
            },
        }
        (staging / "manifest.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        sync_tree(staging)
    return manifest


def check_backup(backup: Path) -> dict[str, Any]:
    """The manifest of a backup whose every file is as it was written.

    Raises `MissingFiles` where there is no backup or a file is gone, `IntegrityError` where one differs.
    """
    try:
        manifest = json.loads((backup / "manifest.json").read_text(encoding="utf-8"))
        files = dict(manifest["files"])
        if manifest["format"] != FORMAT:
            raise ValueError(f"its format is {manifest['format']}")
    except FileNotFoundError:
        raise MissingFiles(f"{backup} is no backup: it has no manifest.json") from None
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"{backup / 'manifest.json'} is not a backup's: {error}") from error
    for name, expected in files.items():
        path = backup / name
        if ".." in Path(name).parts or Path(name).is_absolute():
            raise IntegrityError(f"{backup / 'manifest.json'} names {name}, outside the backup")
        if not path.is_file():
            raise MissingFiles(f"{path} is missing from the backup; take it from another copy")
        if path.stat().st_size != expected["bytes"] or _sha256(path) != expected["sha256"]:
            raise IntegrityError(f"{path} is not as it was backed up; take it from another copy")
    return dict(manifest)


def restore_backup(backup: Path, data_dir: Path) -> dict[str, Any]:
    """Bring a backup into a data directory that has neither index nor media yet; gives the manifest.

    Raises what `check_backup` does, and `ConfigError` where there is something already.
    """
    manifest = check_backup(backup)
    for name in ("index", "media"):
        if (data_dir / name).exists():
            raise ConfigError(f"{data_dir / name} exists; restore into a new data directory, or move it away")
    for name in ("media", "index"):  # the index last: points never lack their media
        with staged_directory(data_dir / name) as staging:
            for file in manifest["files"]:
                if file.startswith(f"{name}/"):
                    place = staging / Path(file).relative_to(name)
                    place.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(backup / file, place)
            sync_tree(staging)
    return manifest


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

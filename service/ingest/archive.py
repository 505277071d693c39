"""Archives that were uploaded or are on this machine, opened safely.

Holds `open_archive`, which recognises zip, tar and tar.gz by their bytes. Faults of the whole archive are
raised when it is opened, those of one entry when that is read. Nothing is ever unpacked under a name that an
archive chose.
"""

import gzip
import zlib
from pathlib import Path

from connectors.errors import UnsupportedMedia
from service.errors import InvalidRequest
from service.ingest.files import Files
from service.ingest.limits import ArchiveLimits
from service.ingest.tar_files import TarFiles
from service.ingest.zip_files import ZipFiles

CHUNK = 1024 * 1024


def open_archive(path: Path, limits: ArchiveLimits, inflated: Path) -> Files:
    """Return the files of an archive; a tar.gz is inflated to `inflated` first, unless it was before.

    Raises `UnsupportedMedia` where it is neither zip, tar nor tar.gz, `InvalidRequest` where it is damaged,
    `RequestTooLarge` where it passes a limit.
    """
    with path.open("rb") as file:
        head = file.read(262)
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return ZipFiles(path, limits)
    if head.startswith(b"\x1f\x8b"):
        if not inflated.exists():
            _inflate(path, limits, inflated)
        return TarFiles(inflated, limits)
    if head[257:262] == b"ustar":
        return TarFiles(path, limits)
    raise UnsupportedMedia("the archive is neither zip, tar nor tar.gz by its first bytes")


def _inflate(path: Path, limits: ArchiveLimits, target: Path) -> None:
    packed, unpacked = path.stat().st_size, 0
    staging = target.with_name(f".{target.name}")
    try:
        with gzip.open(path) as source, staging.open("wb") as file:
            while chunk := source.read(CHUNK):
                unpacked += len(chunk)
                limits.check_bytes(unpacked, packed)
                file.write(chunk)
        staging.replace(target)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InvalidRequest(f"the archive is damaged or cut short: {error}", "archive") from error
    finally:
        staging.unlink(missing_ok=True)

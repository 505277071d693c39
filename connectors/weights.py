"""Where an encoder's files are: a local path, or a file on the Hugging Face hub.

Given a reference as users and bundles write it, gives back a local file or directory. What is not
there becomes one `MissingFiles` error that lists what to download and where to put it, so that an
installation without a network can be completed by hand.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from connectors.errors import ConfigError, MissingFiles

HUB_PREFIX = "hf-hub:"
"""A reference `hf-hub:OWNER/REPO/FILE` (or `hf-hub:datasets/OWNER/REPO/FILE`) is a hub file."""


@dataclass(frozen=True, slots=True)
class Download:
    """One file an encoder needs: what it is, and the address its authors published it at."""

    what: str
    url: str


@dataclass(frozen=True, slots=True)
class Absent:
    """A file that is not there: where it was looked for, and what belongs there."""

    path: str
    download: Download

    def __str__(self) -> str:
        return f"{self.download.what}\n    download  {self.download.url}\n    put it at {self.path}"


def missing_files(absent: Sequence[Absent]) -> MissingFiles:
    """The error that lists every absent file at once."""
    count = "1 file is" if len(absent) == 1 else f"{len(absent)} files are"
    return MissingFiles(f"{count} missing:\n" + "\n".join(f"  - {item}" for item in absent))


def locate(reference: str | Path, download: Download) -> Path:
    """The local path of `reference`, fetched from the hub (or its cache) where it names one.

    Raises `MissingFiles` if it is not there or cannot be fetched.
    """
    text = str(reference)
    if text.startswith(HUB_PREFIX):
        return _hub_file(text.removeprefix(HUB_PREFIX), download)
    path = Path(text).expanduser()
    if not path.exists():
        raise missing_files([Absent(str(path.absolute()), download)])
    return path


def _hub_file(name: str, download: Download) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    parts = name.split("/")
    repo_type = "dataset" if parts[0] == "datasets" else "model"
    parts = parts[1:] if repo_type == "dataset" else parts
    if len(parts) < 3:
        raise ConfigError(f"'{HUB_PREFIX}{name}' is not of the form {HUB_PREFIX}OWNER/REPO/FILE")
    repo, file = "/".join(parts[:2]), "/".join(parts[2:])
    try:
        return Path(hf_hub_download(repo, file, repo_type=repo_type, local_files_only=True))
    except LocalEntryNotFoundError:
        pass
    try:
        return Path(hf_hub_download(repo, file, repo_type=repo_type))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        kind = "datasets/" if repo_type == "dataset" else ""
        url = f"https://huggingface.co/{kind}{repo}/resolve/main/{file}"
        where = f"any path, and name it in place of {HUB_PREFIX}{name}"
        raise missing_files([Absent(where, Download(download.what, url))]) from error

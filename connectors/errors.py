"""Every error the model layer raises on purpose.

    IsthmusError
    ├── MediaError               one item of input cannot be used
    │   ├── UnsupportedMedia     its type is unknown or not served
    │   ├── MediaTooLarge        it passes a limit (bytes, pixels, seconds, points)
    │   └── InvalidMedia         it is damaged, empty or degenerate
    ├── ArtifactError            a file the model is made of cannot be used
    │   ├── MissingFiles         it is not there; says what to fetch and where to put it
    │   ├── IntegrityError       its bytes are not those its manifest names
    │   ├── CheckpointError      its contents do not fit the architecture
    │   └── FingerprintMismatch  it was made for other encoders than those in use
    └── ConfigError              a setting, recipe or argument is wrong

Each class has a stable `code`; `message` is written for the person who made the mistake. What HTTP
status a class becomes is the service's business (`service/errors.py`).
"""

from typing import ClassVar


class IsthmusError(Exception):
    """Root of the tree. `message` is safe to show to a user."""

    code: ClassVar[str] = "error"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class MediaError(IsthmusError):
    """One item of input cannot be used; the others are not affected."""

    code = "bad_media"


class UnsupportedMedia(MediaError):
    """The item's type is unknown, or no encoder serves its modality."""

    code = "unsupported_media"


class MediaTooLarge(MediaError):
    """The item passes a limit; raised before the expensive part of decoding."""

    code = "media_too_large"


class InvalidMedia(MediaError):
    """The item is damaged, empty or degenerate (one point, no samples, NaN)."""

    code = "invalid_media"


class ArtifactError(IsthmusError):
    """A file the model is made of cannot be used."""

    code = "bad_artifact"


class MissingFiles(ArtifactError):
    """Files are not there. The message lists what to fetch and where to put it."""

    code = "missing_files"


class IntegrityError(ArtifactError):
    """A file's bytes are not those its manifest names."""

    code = "integrity"


class CheckpointError(ArtifactError):
    """A checkpoint's contents do not fit the architecture they were given for."""

    code = "bad_checkpoint"


class FingerprintMismatch(ArtifactError):
    """A connector was trained on other encoder weights than those in use."""

    code = "fingerprint_mismatch"


class ConfigError(IsthmusError):
    """A setting, a recipe or an argument is wrong."""

    code = "bad_config"

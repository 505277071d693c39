"""A bundle: a directory with everything one service needs, tied together by its `bundle.toml`.

It names an encoder for each space, which space serves each modality, and one or more sets of connectors.
Paths in it are relative to it. `load_bundle` gives the `UnifiedSpace` it describes.
"""

import os
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from connectors.calibration import Calibration
from connectors.connector import load_connector
from connectors.encoder import Encoder
from connectors.errors import ConfigError, MissingFiles
from connectors.modality import Modality
from connectors.registry import load_encoder
from connectors.space import UnifiedSpace

BUNDLE_FILE = "bundle.toml"
SHIPPED = Path(__file__).parent / "bundles"


class EncoderEntry(BaseModel):
    """An encoder of the bundle, by its name in the registry."""

    model_config = ConfigDict(extra="forbid")

    name: str
    weights: str | None = Field(default=None, description="A path (relative to the bundle) or hub id")
    sha256: str | None = Field(default=None, description="Of the weights file, where it is one file")
    options: dict[str, Any] = {}


class BundleManifest(BaseModel):
    """What `bundle.toml` holds."""

    model_config = ConfigDict(extra="forbid")

    format: Literal["isthmus.bundle/1"]
    name: str
    description: str = ""
    default: str = Field(description="Which connector set is used unless another is asked for")
    dtype: str = Field(default="float32", description="float32, bfloat16, float16, int8 or auto")
    serve: dict[Modality, str] = Field(description="modality -> the space that embeds it")
    encoders: dict[str, EncoderEntry] = Field(description="space -> encoder")
    connectors: dict[str, list[str]] = Field(description="set name -> connector directories")
    calibration: str | None = Field(default=None, description="A calibration file, where there is one")

    @model_validator(mode="after")
    def _names_agree(self) -> "BundleManifest":
        if self.default not in self.connectors:
            raise ValueError(f"default is {self.default!r}, connectors has {list(self.connectors)}")
        unknown = {space for space in self.serve.values() if space not in self.encoders}
        if unknown:
            raise ValueError(f"serve names spaces without an encoder: {sorted(unknown)}")
        return self


def bundle_directory(name: str | Path) -> Path:
    """Where a bundle is: a path as given, a shipped bundle, or a name below `$ISTHMUS_BUNDLES`.

    Raises `MissingFiles`, saying where it looked.
    """
    roots = [SHIPPED, Path(os.environ.get("ISTHMUS_BUNDLES", "~/.isthmus/bundles")).expanduser()]
    candidates = [Path(name), *(root / name for root in roots)]
    for candidate in candidates:
        if (candidate / BUNDLE_FILE).is_file():
            return candidate.resolve()
    looked = ", ".join(str(c / BUNDLE_FILE) for c in candidates)
    raise MissingFiles(f"no bundle {str(name)!r}: looked for {looked}. Make one with `isthmus bundle build`")


def read_manifest(directory: Path) -> BundleManifest:
    """Read a bundle's manifest. Raises `ConfigError` where it does not hold."""
    path = directory / BUNDLE_FILE
    try:
        return BundleManifest.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, ValidationError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error


def encoder_towers(manifest: BundleManifest) -> dict[str, tuple[Modality, ...]]:
    """For each space that serves, the modalities it serves: only those towers need loading."""
    towers: dict[str, tuple[Modality, ...]] = {}
    for modality, space in manifest.serve.items():
        towers[space] = (*towers.get(space, ()), modality)
    return towers


def load_bundle_encoder(
    directory: Path, space: str, towers: tuple[Modality, ...] | None = None, **options: Any
) -> Encoder:
    """Load the encoder of one space of a bundle, all its towers unless some are named."""
    manifest = read_manifest(directory)
    if space not in manifest.encoders:
        raise ConfigError(f"{directory} has no space {space!r}; it has {list(manifest.encoders)}")
    entry = manifest.encoders[space]
    weights: str | Path | None = entry.weights
    if weights is not None and (directory / weights).exists():
        weights = directory / weights
    chosen = {**entry.options, **options}
    if entry.sha256 is not None:
        chosen["sha256"] = entry.sha256
    if towers is not None:
        chosen["towers"] = towers
    return load_encoder(entry.name, weights, **chosen)


def load_encoders(
    name: str | Path,
    *,
    device: str = "cpu",
    dtype: str | None = None,
    compiled: bool = False,
    channels_last: bool = False,
) -> dict[str, Encoder]:
    """The encoders of a bundle that serve, by space: see `load_bundle`."""
    directory = bundle_directory(name)
    manifest = read_manifest(directory)
    return {
        space: load_bundle_encoder(
            directory,
            space,
            towers,
            device=device,
            dtype=dtype or manifest.dtype,
            compiled=compiled,
            channels_last=channels_last,
        )
        for space, towers in encoder_towers(manifest).items()
    }


def load_bundle(
    name: str | Path = "compact",
    *,
    connectors: str | None = None,
    device: str = "cpu",
    dtype: str | None = None,
    compiled: bool = False,
    channels_last: bool = False,
) -> UnifiedSpace:
    """Load a bundle's serving encoders and one of its connector sets, and check that they fit.

    `connectors` names a set other than the default one; `dtype` replaces the bundle's own (see
    `connectors.precision.place` for it, `device`, `compiled` and `channels_last`). Raises `MissingFiles`,
    `IntegrityError`, `CheckpointError`, `FingerprintMismatch` or `ConfigError`; never half a space.
    """
    directory = bundle_directory(name)
    manifest = read_manifest(directory)
    chosen = connectors or manifest.default
    if chosen not in manifest.connectors:
        raise ConfigError(
            f"bundle {manifest.name} has no connector set {chosen!r}; it has {list(manifest.connectors)}"
        )
    encoders = load_encoders(
        directory, device=device, dtype=dtype, compiled=compiled, channels_last=channels_last
    )
    calibration = directory / manifest.calibration if manifest.calibration else None
    return UnifiedSpace(
        name=manifest.name,
        encoders=encoders,
        serve=manifest.serve,
        connectors=[load_connector(directory / path) for path in manifest.connectors[chosen]],
        calibration=Calibration.load(calibration) if calibration else Calibration.none(),
    )

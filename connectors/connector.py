"""A connector: the heads that take native vectors of frozen spaces into the unified one, and its format.

On disk a connector is a directory with `connector.safetensors` and `manifest.json`. A head is a chain of
named projectors, written as a list of their names: Ex-MCR's leaf audio is `["f_l", "f_m"]`, its text
`["f_m"]`, and everything in the base space `[]`, the identity.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load as parse_safetensors
from safetensors.torch import save as serialise_safetensors
from torch import Tensor, nn
from torch.nn import functional as F

from connectors.errors import (
    CheckpointError,
    ConfigError,
    FingerprintMismatch,
    IntegrityError,
    MissingFiles,
    UnsupportedMedia,
)
from connectors.modality import Modality
from connectors.projectors import Projector, Spec, build_projector
from connectors.staged_directory import staged_directory

WEIGHTS_FILE = "connector.safetensors"
MANIFEST_FILE = "manifest.json"


def library_versions() -> dict[str, str]:
    """Versions of the libraries that decide a connector's numbers."""
    return {name: installed_version(name) for name in ("isthmus", "torch", "numpy")}


class ConnectorManifest(BaseModel):
    """What `manifest.json` holds, beside the weights."""

    model_config = ConfigDict(extra="forbid")

    format: Literal["isthmus.connector/1"] = "isthmus.connector/1"
    method: str
    base: str | None = Field(description="The space left untouched, or null where every space moves (C-MCR)")
    dim: int = Field(gt=0, description="Length of unified vectors")
    heads: dict[str, list[str]] = Field(description="'space/modality' -> names of its projectors")
    projectors: dict[str, Spec] = Field(description="name -> what rebuilds it")
    encoders: dict[str, str] = Field(
        description="space -> fingerprint of the encoder it was trained on; empty where not known"
    )
    recipe: dict[str, Any] = {}
    feature_sets: dict[str, str] = Field(
        default={}, description="'space/modality' -> items_sha256 of the features trained on"
    )
    seed: int | None = None
    metrics: dict[str, Any] = {}
    created: str = Field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    versions: dict[str, str] = Field(default_factory=library_versions)
    weights_sha256: str = ""

    @property
    def version(self) -> str:
        """A short name that changes with any head's weights or chain, such as `exmcr-3f1a9c04d2b7`."""
        heads = json.dumps([self.heads, self.projectors], sort_keys=True)
        return f"{self.method}-{_sha256((self.weights_sha256 + heads).encode())[:12]}"

    @property
    def leaves(self) -> frozenset[str]:
        """The spaces that are moved: those with a head that is not the identity."""
        return frozenset(head.partition("/")[0] for head, chain in self.heads.items() if chain)


class Connector(nn.Module):
    """Heads by space and modality, with the manifest that says where they came from.

    Raises `CheckpointError` where a head names a projector that is not there.
    """

    def __init__(self, manifest: ConnectorManifest, projectors: Mapping[str, Projector]) -> None:
        super().__init__()
        for head, chain in manifest.heads.items():
            missing = [name for name in chain if name not in projectors]
            if missing:
                raise CheckpointError(f"head {head} names projectors that are not there: {missing}")
        self.manifest = manifest
        self.projectors = nn.ModuleDict(dict(projectors))
        self.eval()

    @property
    def dim(self) -> int:
        """Length of unified vectors."""
        return self.manifest.dim

    @property
    def version(self) -> str:
        """A short name that changes with any head's weights or chain; see `ConnectorManifest.version`."""
        weights = self.manifest.weights_sha256 or _sha256(self._weights())
        return self.manifest.model_copy(update={"weights_sha256": weights}).version

    def has_head(self, space: str, modality: Modality) -> bool:
        """Whether this connector takes that space's modality into the unified space."""
        return f"{space}/{modality}" in self.manifest.heads

    def is_identity(self, space: str, modality: Modality) -> bool:
        """Whether that head leaves native vectors as they are."""
        return self.manifest.heads.get(f"{space}/{modality}") == []

    @torch.inference_mode()
    def project(self, space: str, modality: Modality, native: Tensor) -> Tensor:
        """Native vectors [N, d] -> unified vectors [N, dim], float32, L2-normalised.

        A base space's vectors come back untouched. Raises `UnsupportedMedia` where there is no such head.
        """
        chain = self.manifest.heads.get(f"{space}/{modality}")
        if chain is None:
            heads = ", ".join(self.manifest.heads)
            raise UnsupportedMedia(f"connector has no head for {space}/{modality}; it has: {heads}")
        if not chain:
            return native
        x = native.float()
        for name in chain:
            x = self.projectors[name](x)
        return F.normalize(x, dim=-1)

    def check_encoders(self, in_use: Mapping[str, str]) -> None:
        """Raise `FingerprintMismatch` if a space's encoder is not the one this was trained on."""
        for space, trained_on in self.manifest.encoders.items():
            if trained_on and space in in_use and in_use[space] != trained_on:
                raise FingerprintMismatch(
                    f"connector {self.version} was trained on the {space} encoder {trained_on[:19]}..., "
                    f"but {in_use[space][:19]}... is in use; retrain it on this encoder's features "
                    f"(isthmus features, isthmus train) or use the encoder it was made for"
                )

    def save(self, directory: Path | str) -> Path:
        """Write the connector as `directory`, whole or not at all; a former one there is replaced."""
        data = self._weights()
        self.manifest.weights_sha256 = _sha256(data)
        text = json.dumps(self.manifest.model_dump(mode="json"), indent=2, sort_keys=True)
        with staged_directory(directory) as staging:
            (staging / WEIGHTS_FILE).write_bytes(data)
            (staging / MANIFEST_FILE).write_text(text + "\n", encoding="utf-8")
        return Path(directory)

    def _weights(self) -> bytes:
        state = {key: value.contiguous() for key, value in self.projectors.state_dict().items()}
        return serialise_safetensors(state)


def blend(base: Tensor, leaf: Tensor, share: float) -> Tensor:
    """Mix two unified vectors of the same items: normalize((1 - share) base + share leaf), [N, dim].

    For the modality that base and leaf both embed (FreeBind): at 0 the base's own vectors, at 1 the leaf's
    as projected; in between the vectors know what either space knows.
    """
    return F.normalize(torch.lerp(base.float(), leaf.float(), share), dim=-1)


def read_connector_manifest(directory: Path | str) -> ConnectorManifest:
    """Read what a connector directory says of itself, without its weights.

    Raises `MissingFiles`, or `ConfigError` for a manifest that cannot be read.
    """
    path = Path(directory)
    absent = [str(path / name) for name in (MANIFEST_FILE, WEIGHTS_FILE) if not (path / name).is_file()]
    if absent:
        raise MissingFiles(f"not a connector directory: {', '.join(absent)} not found")
    try:
        return ConnectorManifest.model_validate_json((path / MANIFEST_FILE).read_bytes())
    except ValidationError as error:
        raise ConfigError(f"{path / MANIFEST_FILE} is not a connector manifest: {error}") from error


def load_connector(directory: Path | str) -> Connector:
    """Read a connector directory and verify it.

    Raises `MissingFiles`, `IntegrityError` (weights that are not the manifest's), `CheckpointError`
    (weights that do not fit the projectors) or `ConfigError` (a manifest that cannot be read).
    """
    manifest = read_connector_manifest(directory)
    weights_path = Path(directory) / WEIGHTS_FILE
    data = weights_path.read_bytes()
    if _sha256(data) != manifest.weights_sha256:
        raise IntegrityError(
            f"{weights_path} has sha256 {_sha256(data)}, its manifest says {manifest.weights_sha256}; "
            "the file is damaged or was exchanged: fetch or train the connector again"
        )
    try:
        # Sizes are the manifest's word until the weights bear it out: nothing is allocated for them before.
        with torch.device("meta"):
            projectors = {name: build_projector(spec) for name, spec in manifest.projectors.items()}
            connector = Connector(manifest, projectors)
        state = {name: _full(tensor) for name, tensor in parse_safetensors(data).items()}
        connector.projectors.load_state_dict(state, assign=True)
    except (RuntimeError, OverflowError, SafetensorError) as error:
        raise CheckpointError(f"{weights_path} does not fit its manifest: {error}") from error
    return connector


def _full(tensor: Tensor) -> Tensor:
    """A weight in the precision it is used in."""
    return tensor.float() if tensor.is_floating_point() else tensor


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()

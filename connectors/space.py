"""The unified space: frozen encoders and the connectors that bring their vectors together.

It is given encoders by space, the space that serves each modality, and connectors that agree on where the
unified space is; it turns media into unified vectors, in one call or step by step.
"""

import hashlib
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from connectors.calibration import Calibration
from connectors.connector import Connector
from connectors.encoder import Encoder, Prepared
from connectors.errors import ConfigError, UnsupportedMedia
from connectors.media import Limits
from connectors.media import decode as decode_media
from connectors.media.limits import DEFAULT_LIMITS
from connectors.modality import MODALITIES, Media, Modality


class UnifiedSpace:
    """Media of several modalities in, comparable unit vectors out.

    Raises `ConfigError` where the connectors do not meet in one space, `FingerprintMismatch` where a
    connector was trained on other encoders than these.
    """

    def __init__(
        self,
        *,
        name: str,
        encoders: Mapping[str, Encoder],
        serve: Mapping[Modality, str],
        connectors: Sequence[Connector],
        calibration: Calibration,
    ) -> None:
        if not connectors:
            raise ConfigError("a unified space needs at least one connector")
        bases = {connector.manifest.base for connector in connectors}
        if len(connectors) > 1 and (len(bases) > 1 or None in bases):
            raise ConfigError(
                "several connectors meet only in one common base space; these have: "
                + ", ".join(f"{c.version} (base {c.manifest.base})" for c in connectors)
            )
        dims = {connector.dim for connector in connectors}
        if len(dims) > 1:
            raise ConfigError(f"connectors of different dimension cannot be combined: {dims}")
        fingerprints = {space: encoder.fingerprint for space, encoder in encoders.items()}
        for connector in connectors:
            connector.check_encoders(fingerprints)
        self.name = name
        self.encoders = dict(encoders)
        self.connectors = list(connectors)
        self.calibration = calibration
        self.dim = dims.pop()
        self.connector_version = version_of([connector.version for connector in connectors])
        self._serve = dict(serve)
        self._serving: dict[Modality, tuple[str, Connector]] = {}
        for modality in MODALITIES:
            space = serve.get(modality)
            head = next((c for c in connectors if space and c.has_head(space, modality)), None)
            if space is not None and head is not None:
                self._serving[modality] = (space, head)

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """What can be embedded."""
        return tuple(self._serving)

    def with_connectors(self, connectors: Sequence[Connector], calibration: Calibration) -> "UnifiedSpace":
        """The space that other connectors make of the same encoders. Raises what the constructor does."""
        return UnifiedSpace(
            name=self.name,
            encoders=self.encoders,
            serve=self._serve,
            connectors=connectors,
            calibration=calibration,
        )

    def space_of(self, modality: Modality) -> str:
        """The space whose encoder embeds a modality. Raises `UnsupportedMedia` if none does."""
        return self._find(modality)[0]

    def encoder_of(self, modality: Modality) -> Encoder:
        """The encoder that embeds a modality. Raises `UnsupportedMedia` if none does."""
        return self.encoders[self.space_of(modality)]

    def is_base(self, modality: Modality) -> bool:
        """Whether a modality's unified vectors are its native ones, whatever the connector."""
        space, connector = self._find(modality)
        return connector.is_identity(space, modality)

    def decode(
        self, modality: Modality, data: bytes, *, name: str | None = None, limits: Limits = DEFAULT_LIMITS
    ) -> Media:
        """File bytes to decoded media; see `connectors.media.decode`."""
        self._find(modality)
        return decode_media(modality, data, name=name, limits=limits)

    def prepare(self, modality: Modality, item: Media) -> Prepared:
        """Preprocess one decoded item for its encoder. Thread-safe."""
        return self.encoder_of(modality).prepare(item, modality)

    def encode_prepared(self, batch: Sequence[Prepared]) -> Tensor:
        """Native vectors of prepared items of one modality: float32 [n, d], L2-normalised."""
        if not batch:
            raise ValueError("an empty batch has no modality")
        return self.encoder_of(batch[0].modality).encode_prepared(batch)

    def project(self, modality: Modality, native: Tensor) -> Tensor:
        """Native vectors [n, d] -> unified vectors [n, dim], float32, L2-normalised."""
        space, connector = self._find(modality)
        return connector.project(space, modality, native)

    def encode(self, modality: Modality, items: Sequence[bytes | Media], batch_size: int = 32) -> Tensor:
        """Native vectors of files (bytes) or decoded media: float32 [n, d], L2-normalised."""
        encoder = self.encoder_of(modality)
        batches = []
        for start in range(0, len(items), batch_size):
            decoded = [
                self.decode(modality, item) if isinstance(item, bytes) else item
                for item in items[start : start + batch_size]
            ]
            batches.append(encoder.encode(decoded, modality, batch_size))
        return torch.cat(batches) if batches else torch.zeros(0, encoder.dim)

    def embed(self, modality: Modality, items: Sequence[bytes | Media], batch_size: int = 32) -> Tensor:
        """Unified vectors of files (bytes) or decoded media: float32 [n, dim], L2-normalised."""
        if not items:
            return torch.zeros(0, self.dim)
        return self.project(modality, self.encode(modality, items, batch_size))

    def _find(self, modality: Modality) -> tuple[str, Connector]:
        try:
            return self._serving[modality]
        except KeyError:
            served = ", ".join(self._serving)
            raise UnsupportedMedia(
                f"bundle {self.name} does not embed {modality!r}; it embeds: {served}"
            ) from None


def version_of(versions: Sequence[str]) -> str:
    """The version of a set of connectors, of those of its members in order: changes with any of them."""
    if len(versions) == 1:
        return versions[0]
    digest = hashlib.sha256("+".join(versions).encode()).hexdigest()
    return f"{versions[0].rpartition('-')[0]}-{digest[:12]}"

"""Isthmus' model layer: media bytes in, unit vectors of one unified space out.

from connectors import load_bundle
space = load_bundle("compact")
space.embed("audio", [wav_bytes])        # float32 [1, dim], L2-normalised
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from connectors.bundle import load_bundle
    from connectors.connector import Connector, load_connector
    from connectors.encoder import Encoder, Prepared
    from connectors.errors import IsthmusError, MediaError
    from connectors.modality import MODALITIES, Media, Modality
    from connectors.registry import load_encoder
    from connectors.space import UnifiedSpace

_HOMES = {
    "MODALITIES": "modality",
    "Connector": "connector",
    "Encoder": "encoder",
    "IsthmusError": "errors",
    "Media": "modality",
    "MediaError": "errors",
    "Modality": "modality",
    "Prepared": "encoder",
    "UnifiedSpace": "space",
    "load_bundle": "bundle",
    "load_connector": "connector",
    "load_encoder": "registry",
}
"""The module of each name; imported when it is first asked for, so that decoding needs no torch."""

# Before torch is imported: how often its threads look for their next step before they sleep (some 10 us).
# Sleeping at once makes a batch of one take twice as long; looking for milliseconds, which is the default,
# takes the core from whatever else runs. A user's own wait policy would give way to the count, so it decides.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")

__all__ = [
    "MODALITIES",
    "Connector",
    "Encoder",
    "IsthmusError",
    "Media",
    "MediaError",
    "Modality",
    "Prepared",
    "UnifiedSpace",
    "load_bundle",
    "load_connector",
    "load_encoder",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_HOMES)

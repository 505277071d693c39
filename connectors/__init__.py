"""Isthmus' model layer: media bytes in, unit vectors of one unified space out.

from connectors import load_bundle
space = load_bundle("compact")
space.embed("audio", [wav_bytes])        # float32 [1, dim], L2-normalised
"""

from connectors.bundle import load_bundle
from connectors.connector import Connector, load_connector
from connectors.encoder import Encoder, Prepared
from connectors.errors import IsthmusError, MediaError
from connectors.modality import MODALITIES, Media, Modality
from connectors.registry import load_encoder
from connectors.space import UnifiedSpace

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

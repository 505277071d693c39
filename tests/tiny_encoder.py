"""A real, very small encoder for each modality, so that tests need no weights."""

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor

from connectors.encoder import Prepared, TowerEncoder
from connectors.errors import InvalidMedia
from connectors.modality import MODALITIES, Media, Modality

DIM = 16


class TinyEncoder(TowerEncoder):
    """Embeds all modalities by a few statistics of their content, mixed by a fixed random matrix."""

    def __init__(self, modalities: tuple[Modality, ...] = MODALITIES, seed: int = 0) -> None:
        super().__init__()
        self.name, self.modalities, self.dim = "tiny/one", modalities, DIM
        rng = torch.Generator().manual_seed(seed)
        self.mix = torch.nn.Parameter(torch.randn(64, DIM, generator=rng))
        self.fingerprint = f"sha256:{hashlib.sha256(str(seed).encode()).hexdigest()}"
        self.encoded = 0

    def prepare(self, media: Media, modality: Modality | None = None) -> Prepared:
        tower = self.resolve(modality)
        if isinstance(media, str):
            values = np.frombuffer(hashlib.sha512(media.encode()).digest(), dtype=np.uint8) / 255.0
        elif isinstance(media, Image):
            values = np.asarray(media.resize((4, 4)), dtype=np.float64).ravel() / 255
        elif media.ndim == 2:
            values = np.concatenate([media.min(0), media.max(0), media.std(0)])
        else:
            values = np.abs(np.fft.rfft(media, n=128))[:64]
        if not np.isfinite(values).all():
            raise InvalidMedia("not finite")
        row = np.zeros(64, dtype=np.float32)
        row[: len(values)] = values[:64]
        return Prepared(tower, torch.from_numpy(row)[None], 64)

    def embed_rows(self, modality: Modality, rows: Tensor) -> Tensor:
        return rows @ self.mix

    def encode_prepared(self, batch: Sequence[Prepared]) -> Tensor:
        self.encoded += len(batch)
        return super().encode_prepared(batch)

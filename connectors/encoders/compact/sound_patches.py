"""Log-mel patches of sound, as YAMNet's published front end defines them.

Given a decoded waveform, it gives back patches of 0.96 s: 16 kHz, windows of 25 ms every 10 ms,
64 mel bands from 125 to 7500 Hz, log(magnitude + 0.001). Silent patches are left out, and of a long
sound no more than `MOST_PATCHES` are kept, evenly spaced.

Source: tensorflow/models, research/audioset/yamnet (features.py, params.py).
"""

import functools

import numpy as np
import numpy.typing as npt
import soxr
import torch
from torch import Tensor

from connectors.errors import InvalidMedia
from connectors.modality import SAMPLE_RATE, Waveform

RATE = 16_000
WINDOW, HOP, FFT = 400, 160, 512
BANDS, FRAMES = 64, 96
PATCH = (FRAMES - 1) * HOP + WINDOW
"""Samples that one patch spans."""
PATCH_HOP = PATCH // 2
MOST_PATCHES = 6
"""As many as a core embeds in some 25 ms."""
SILENT = 0.02
"""A patch whose level (rms) is below this share of the loudest patch's says nothing about the sound."""


def hertz_to_mel(hertz: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The HTK mel scale."""
    return np.asarray(1127.0 * np.log1p(hertz / 700.0))


@functools.cache
def mel_matrix() -> Tensor:
    """Triangular filters [FFT // 2 + 1, BANDS] between 125 and 7500 Hz."""
    bins = hertz_to_mel(np.linspace(0.0, RATE / 2, FFT // 2 + 1))[:, None]
    low, high = hertz_to_mel(np.array([125.0, 7500.0]))
    edges = np.linspace(low, high, BANDS + 2)
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    weights = np.maximum(0.0, np.minimum(rising, falling))
    weights[0] = 0.0
    return torch.from_numpy(weights.astype(np.float32))


def log_mel(frames: Tensor) -> Tensor:
    """Sound [n, PATCH] at 16 kHz -> log-mel patches [n, FRAMES, BANDS]."""
    windows = frames.unfold(1, WINDOW, HOP) * torch.hann_window(WINDOW, periodic=True)
    magnitude = torch.fft.rfft(windows, n=FFT).abs()
    return torch.log(magnitude @ mel_matrix() + 0.001)


def cut_patches(sound: Tensor, most: int = MOST_PATCHES) -> Tensor:
    """Half-overlapping patches [n, PATCH] of sound [samples] at 16 kHz: from one, zero-padded, to `most`."""
    missing = PATCH - len(sound)
    if missing > 0:
        return torch.nn.functional.pad(sound, (0, missing))[None]
    tail = (-(len(sound) - PATCH)) % PATCH_HOP
    patches = torch.nn.functional.pad(sound, (0, tail)).unfold(0, PATCH, PATCH_HOP)
    level = patches.square().mean(dim=1).sqrt()
    patches = patches[level >= SILENT * level.max()]
    if len(patches) > most:
        patches = patches[torch.linspace(0, len(patches) - 1, most).round().long()]
    return patches


def prepare_sound(wave: Waveform) -> Tensor:
    """A decoded waveform -> log-mel patches [n, 1, FRAMES, BANDS].

    Raises `InvalidMedia` if it is empty or holds a value that is no number.
    """
    if wave.ndim != 1 or wave.size == 0:
        raise InvalidMedia("the sound has no samples")
    if not np.isfinite(wave).all():
        raise InvalidMedia("the sound holds samples that are not numbers")
    low = soxr.resample(wave.astype(np.float32, copy=False), SAMPLE_RATE, RATE)
    patches = cut_patches(torch.from_numpy(np.ascontiguousarray(low, dtype=np.float32)))
    return log_mel(patches)[:, None]

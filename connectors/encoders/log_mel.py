"""Log-mel spectrograms as LAION CLAP was trained on them.

Given waveforms at 48 kHz, gives back decibels by frame and mel band. The non-fusion checkpoints
were trained with librosa's filters (Slaney), the fusion ones with torchaudio's (HTK); both are
computed here, so that neither library is needed to serve.
"""

from typing import Literal

import torch
from torch import Tensor

from connectors.modality import SAMPLE_RATE

FFT, HOP, BANDS = 1024, 480, 64
LOWEST, HIGHEST = 50.0, 14_000.0
"""Range of the bands in Hz."""

Scale = Literal["slaney", "htk"]

_BREAK, _STEP = 1000.0, 200.0 / 3
"""Slaney's scale is linear below 1 kHz, 66.7 Hz a mel, and logarithmic above."""
_LOG_STEP = torch.log(torch.tensor(6.4, dtype=torch.float64)) / 27


def _to_mel(hertz: Tensor, scale: Scale) -> Tensor:
    if scale == "htk":
        return 2595 * torch.log10(1 + hertz / 700)
    above = _BREAK / _STEP + torch.log(hertz.clamp(min=_BREAK) / _BREAK) / _LOG_STEP
    return torch.where(hertz < _BREAK, hertz / _STEP, above)


def _to_hertz(mel: Tensor, scale: Scale) -> Tensor:
    if scale == "htk":
        return 700 * (10 ** (mel / 2595) - 1)
    corner = _BREAK / _STEP
    return torch.where(mel < corner, mel * _STEP, _BREAK * torch.exp(_LOG_STEP * (mel - corner)))


def mel_filters(scale: Scale) -> Tensor:
    """Triangular filters float32 [513, 64]; "slaney" has filters of equal area, "htk" of equal height."""
    bins = torch.linspace(0, SAMPLE_RATE / 2, FFT // 2 + 1, dtype=torch.float64)
    low, high = _to_mel(torch.tensor([LOWEST, HIGHEST], dtype=torch.float64), scale)
    corners = _to_hertz(torch.linspace(float(low), float(high), BANDS + 2, dtype=torch.float64), scale)
    rise = (bins[:, None] - corners[:-2]) / (corners[1:-1] - corners[:-2])
    fall = (corners[2:] - bins[:, None]) / (corners[2:] - corners[1:-1])
    filters = torch.minimum(rise, fall).clamp(min=0)
    if scale == "slaney":
        filters *= 2 / (corners[2:] - corners[:-2])
    return filters.float()


class LogMel:
    """The spectrogram of one kind of checkpoint. Holds the window and the filters; thread-safe."""

    def __init__(self, scale: Scale) -> None:
        self._window = torch.hann_window(FFT)
        self._filters = mel_filters(scale)

    def __call__(self, waveforms: Tensor) -> Tensor:
        """Waveforms float32 [n, samples] -> decibels float32 [n, samples // 480 + 1, 64]."""
        spectrum = torch.stft(
            waveforms, FFT, HOP, window=self._window, center=True, pad_mode="reflect", return_complex=True
        )
        power = torch.view_as_real(spectrum).square().sum(-1)
        return 10 * torch.log10((power.transpose(1, 2) @ self._filters).clamp(min=1e-10))

"""Spectrograms are librosa's and laion_clap's, without either."""

import librosa
import numpy as np
import pytest
import torch

from connectors.encoders.log_mel import BANDS, FFT, HIGHEST, HOP, LOWEST, LogMel, mel_filters


@pytest.mark.parametrize(("scale", "norm"), [("slaney", "slaney"), ("htk", None)])
def test_filters_are_librosas(scale, norm):
    wanted = librosa.filters.mel(
        sr=48_000, n_fft=FFT, n_mels=BANDS, fmin=LOWEST, fmax=HIGHEST, htk=scale == "htk", norm=norm
    )
    assert np.allclose(mel_filters(scale).numpy(), wanted.T, atol=1e-6)


def test_decibels_are_librosas():
    noise = np.random.default_rng(0).normal(0, 0.1, 48_000).astype(np.float32)
    power = librosa.feature.melspectrogram(
        y=noise,
        sr=48_000,
        n_fft=FFT,
        hop_length=HOP,
        n_mels=BANDS,
        fmin=LOWEST,
        fmax=HIGHEST,
        pad_mode="reflect",
    )
    found = LogMel("slaney")(torch.from_numpy(noise)[None])[0].numpy()
    assert found.shape == (101, BANDS)
    assert np.allclose(found, librosa.power_to_db(power, top_db=None).T, atol=1e-3)


def test_silence_is_the_floor():
    torch.testing.assert_close(LogMel("htk")(torch.zeros(1, 4800)), torch.full((1, 11, BANDS), -100.0))

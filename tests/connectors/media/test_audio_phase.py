"""Channels that cancel in their mean are not silence."""

import numpy as np
import pytest
import samples
from sound_samples import encoded

from connectors.media import decode
from connectors.media.mono import Mixer
from connectors.modality import SAMPLE_RATE


def wav(*channels):
    return samples.sound_file(np.stack(channels, axis=1), subtype="FLOAT")


def test_opposite_phase_is_heard_as_its_first_channel():
    tone = samples.tone()
    assert (decode("audio", wav(tone, -tone)) == tone).all()
    assert (decode("audio", wav(-tone, tone)) == -tone).all()


def test_the_channel_of_more_energy_is_taken():
    tone, hum = samples.tone(), samples.tone(hertz=100)
    assert (decode("audio", wav(-0.99 * tone, tone)) == tone).all()
    assert (decode("audio", wav(tone, -tone, 0.5 * hum, -0.5 * hum)) == tone).all()
    assert (decode("audio", wav(0.5 * hum, -0.5 * hum, tone, -tone)) == tone).all()


@pytest.mark.parametrize("channels", [4, 6, 8, 16, 64])
def test_many_channels_that_cancel_are_heard(channels):
    tone = samples.tone()
    pairs = [tone * sign for _ in range(channels // 2) for sign in (1, -1)]
    assert (decode("audio", wav(*pairs)) == tone).all()
    quiet = [np.zeros_like(tone)] * (channels - 2)
    assert (decode("audio", wav(*quiet, tone, -tone)) == tone).all()


@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1.0, 1e6, 1e30])
def test_loudness_does_not_matter(scale):
    tone = samples.tone() * np.float32(scale)
    assert (decode("audio", wav(tone, -tone)) == tone).all()
    assert np.array_equal(decode("audio", wav(tone, tone)), tone)


def test_ordinary_sound_stays_the_mean():
    noise = np.random.default_rng(0).normal(0, 0.1, (64, SAMPLE_RATE)).astype(np.float32)
    tone, other = samples.tone(), samples.tone(hertz=550)
    for channels in (
        [tone, tone],
        [tone, np.zeros_like(tone)],
        [tone, other],
        [tone, -0.75 * tone],  # 1.6 % of the energy is left
        list(noise[:2]),
        list(noise[:6]),
        list(noise),
        [tone, -tone, other],
        [np.zeros_like(tone)] * 2,
    ):
        expected = np.stack(channels, axis=1).mean(axis=1)
        assert (decode("audio", wav(*channels)) == expected).all()


def test_the_whole_sound_decides_not_a_part_of_it():
    tone = samples.tone()
    left, right = np.concatenate([tone, tone]), np.concatenate([tone, -tone])
    wave = decode("audio", wav(left, right))
    assert (wave[:SAMPLE_RATE] == tone).all()
    assert not wave[SAMPLE_RATE:].any()


def test_a_long_sound_is_decided_over_all_its_blocks():
    tone = samples.tone(20)
    quiet = np.concatenate([np.zeros(SAMPLE_RATE, np.float32), tone])
    assert (decode("audio", wav(quiet, -quiet)) == quiet).all()


def test_lossy_and_resampled_sounds_are_heard():
    tone = samples.tone(1, 44_100)
    both = np.stack([tone, -tone], axis=1)
    for data in (
        samples.sound_file(both, 44_100, "FLAC"),
        samples.sound_file(both, 44_100, "OGG", "VORBIS"),
        encoded("ipod", "aac", both, 44_100),
        encoded("matroska", "flac", both, 44_100),
    ):
        wave = decode("audio", data)[4800:-4800]
        assert abs(np.sqrt(np.mean(wave**2)) - 0.5 / np.sqrt(2)) < 0.02


def test_each_link_of_a_chain_is_decided_by_itself():
    tone = samples.tone()
    links = [
        samples.sound_file(np.stack(pair, axis=1), form="OGG", subtype="OPUS")
        for pair in ([tone, tone], [tone, -tone])
    ]
    wave = decode("audio", b"".join(links))
    for part in (wave[:SAMPLE_RATE], wave[SAMPLE_RATE:]):
        assert abs(np.sqrt(np.mean(part[4800:-4800] ** 2)) - 0.5 / np.sqrt(2)) < 0.02


def test_blocks_of_any_size_make_the_same_sums():
    sound = np.random.default_rng(1).normal(size=(10_000, 2)).astype(np.float32)
    sound[:, 1] = -0.9 * sound[:, 0]
    for size in (1, 7, 1_000, 10_000):
        mixer = Mixer()
        for start in range(0, len(sound), size):
            mixer.mean(sound[start : start + size])
        assert mixer.cancelled()
        assert (mixer.remix(sound) == sound[:, 0]).all()

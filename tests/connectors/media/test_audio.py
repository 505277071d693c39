import struct

import numpy as np
import pytest
import samples

from connectors.errors import InvalidMedia, MediaTooLarge
from connectors.media import Limits, decode
from connectors.modality import SAMPLE_RATE


def loudest_hertz(wave):
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave))))
    return np.argmax(spectrum) * SAMPLE_RATE / len(wave)


def is_the_tone(wave, hertz=440.0, seconds=1.0):
    assert (wave.dtype, wave.ndim) == (np.float32, 1)
    assert abs(len(wave) / SAMPLE_RATE - seconds) < 0.08
    assert abs(loudest_hertz(wave) - hertz) < 2
    middle = wave[len(wave) // 4 : -len(wave) // 4]
    assert abs(np.sqrt(np.mean(middle**2)) - 0.5 / np.sqrt(2)) < 0.02


@pytest.mark.parametrize("name", samples.SOUNDS)
def test_every_format_gives_the_same_sound(name):
    is_the_tone(decode("audio", samples.file("audio", name), name=name))


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000, 192_000])
def test_every_rate_becomes_48_khz(rate):
    wave = decode("audio", samples.sound_file(samples.tone(rate=rate), rate))
    assert len(wave) == SAMPLE_RATE
    is_the_tone(wave)


def test_48_khz_is_left_as_it_is():
    tone = samples.tone()
    assert (decode("audio", samples.sound_file(tone, subtype="FLOAT")) == tone).all()


@pytest.mark.parametrize("channels", [1, 2, 6, 64])
def test_channels_are_averaged(channels):
    tones = np.stack([samples.tone()] + [np.zeros(SAMPLE_RATE, np.float32)] * (channels - 1), axis=1)
    wave = decode("audio", samples.sound_file(tones, subtype="FLOAT"))
    assert np.allclose(wave, samples.tone() / channels, atol=1e-6)


def test_resampling_in_blocks_leaves_no_seams():
    # 60 s are several blocks; at a seam the tone's second difference would jump.
    wave = decode("audio", samples.sound_file(samples.tone(60, 44_100), 44_100, subtype="FLOAT"))
    assert len(wave) == 60 * SAMPLE_RATE
    expected = samples.tone(60)
    assert np.abs(wave - expected)[1000:-1000].max() < 1e-3


def test_8_bit_and_24_bit_wav_are_read():
    for subtype, error in (("PCM_U8", 0.01), ("PCM_24", 1e-6), ("ULAW", 0.02)):
        wave = decode("audio", samples.sound_file(samples.tone(), subtype=subtype))
        assert np.abs(wave - samples.tone()).max() < error


def test_a_video_without_sound_is_invalid():
    with pytest.raises(InvalidMedia, match=r"clip\.mp4 has no sound track"):
        decode("audio", samples.silent_video(), name="clip.mp4")


def test_three_hours_are_refused_by_the_header():
    for form in ("WAV", "FLAC"):
        silence = samples.sound_file(np.zeros(3 * 3600 * 1000, np.int16), 1000, form, "PCM_16")
        with pytest.raises(MediaTooLarge, match="long has 10,800 s of sound; the limit is 600"):
            decode("audio", silence, name="long")


@pytest.mark.parametrize("name", samples.SOUNDS)
def test_every_format_obeys_the_limit_of_seconds(name):
    with pytest.raises(MediaTooLarge, match=name):
        decode("audio", samples.file("audio", name), name=name, limits=Limits(max_seconds=0.5))


def flac_of_open_length(seconds):
    """As ffmpeg writes it to a pipe: STREAMINFO's sample count is 0, which means unknown."""
    flac = bytearray(samples.sound_file(samples.tone(seconds), form="FLAC"))
    struct.pack_into(">I", flac, 22, 0)
    return bytes(flac)


def test_a_flac_of_open_length_is_read_to_its_end_or_the_limit():
    is_the_tone(decode("audio", flac_of_open_length(1)))
    with pytest.raises(MediaTooLarge):
        decode("audio", flac_of_open_length(3), limits=Limits(max_seconds=2))


def test_an_mp3_without_a_xing_header_is_measured_by_decoding_it():
    mp3 = samples.sound_file(samples.tone(3), form="MP3")
    bare = mp3[mp3.index(mp3[:2], 100) :]
    assert b"Xing" not in bare
    assert b"Info" not in bare
    is_the_tone(decode("audio", bare, name="a.mp3"), seconds=3)
    with pytest.raises(MediaTooLarge):
        decode("audio", bare, name="a.mp3", limits=Limits(max_seconds=2))


def test_no_samples_are_invalid():
    for form in ("WAV", "FLAC", "OGG"):
        with pytest.raises(InvalidMedia, match="nothing"):
            decode("audio", samples.sound_file(np.zeros(0, np.float32), form=form), name="nothing")


def test_a_click_is_too_short():
    with pytest.raises(InvalidMedia, match=r"lasts 0\.010 s; at least 0\.05 are needed"):
        decode("audio", samples.sound_file(samples.tone(0.01)))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_samples_that_are_not_finite_are_invalid(bad):
    tone = samples.tone()
    tone[30_000] = bad
    with pytest.raises(InvalidMedia, match="not finite"):
        decode("audio", samples.sound_file(tone, subtype="FLOAT"))


@pytest.mark.parametrize("name", samples.SOUNDS)
@pytest.mark.parametrize("kept", [0.5, 0.9])
def test_a_sound_that_was_cut_off_is_invalid(name, kept):
    data = samples.file("audio", name)
    with pytest.raises(InvalidMedia, match=name):
        decode("audio", data[: int(len(data) * kept)], name=name)


def test_an_ogg_cut_between_two_pages_is_invalid():
    data = samples.file("audio", "a.opus")
    with pytest.raises(InvalidMedia, match="last Ogg page is missing"):
        decode("audio", data[: data.rindex(b"OggS")])


def test_endless_boxes_and_pages_are_refused_before_they_are_decoded():
    page = b"OggS" + bytes(23)
    for data in (
        samples.file("audio", "a.ogg") + page * 300_001,
        samples.file("audio", "a.m4a") + struct.pack(">I4s", 8, b"free") * 300_001,
    ):
        with pytest.raises(MediaTooLarge, match="300,000 pages or boxes"):
            decode("audio", data)


def test_a_wav_whose_recorder_left_the_size_open_is_read():
    wav = bytearray(samples.file("audio", "a.wav"))
    struct.pack_into("<I", wav, wav.index(b"data") + 4, 0xFFFFFFFF)
    is_the_tone(decode("audio", bytes(wav)))


def test_a_webm_of_unknown_size_is_read():
    webm = bytearray(samples.file("audio", "a.webm"))
    size = webm.index(b"\x18\x53\x80\x67") + 4
    webm[size : size + 8] = b"\x01" + b"\xff" * 7
    is_the_tone(decode("audio", bytes(webm)))


def test_another_modality_is_invalid():
    with pytest.raises(InvalidMedia, match=r"a\.png is image/png, not an audio file"):
        decode("audio", samples.file("image", "a.png"), name="a.png")

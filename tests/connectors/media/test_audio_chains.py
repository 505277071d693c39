"""Sound after the first stream: files joined end to end are heard one after another."""

import struct

import numpy as np
import pytest
import samples
from sound_samples import by_ffmpeg, encoded, ogg_page, ogg_pages, sealed, seconds_by_ffmpeg

from connectors.errors import InvalidMedia, MediaTooLarge
from connectors.media import Limits, decode, ogg
from connectors.modality import SAMPLE_RATE

LOW, HIGH = 440.0, 1320.0


def ogg_file(subtype, hertz=LOW, seconds=1.0, rate=48_000, channels=1):
    sound = np.stack([samples.tone(seconds, rate, hertz)] * channels, axis=1)
    return samples.sound_file(sound, rate, "OGG", subtype)


def mp3_file(hertz=LOW, seconds=1.0, rate=48_000, channels=1):
    sound = np.stack([samples.tone(seconds, rate, hertz)] * channels, axis=1)
    return samples.sound_file(sound, rate, "MP3")


def without_xing(mp3):
    return mp3[mp3.index(mp3[:2], 100) :]


def loudest_hertz(wave):
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave))))
    return np.argmax(spectrum) * SAMPLE_RATE / len(wave)


def is_low_then_high(wave, first=1.0, second=1.0):
    assert abs(len(wave) / SAMPLE_RATE - first - second) < 0.12
    assert abs(loudest_hertz(wave[4800 : int(first * SAMPLE_RATE) - 4800]) - LOW) < 3
    assert abs(loudest_hertz(wave[int((first + 0.1) * SAMPLE_RATE) : -4800]) - HIGH) < 3


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
@pytest.mark.parametrize(("rate", "channels"), [(48_000, 1), (24_000, 1), (48_000, 2), (24_000, 2)])
def test_chained_ogg_is_heard_to_its_end(subtype, rate, channels):
    joined = ogg_file(subtype) + ogg_file(subtype, HIGH, 1.5, rate, channels)
    wave = decode("audio", joined, name="a.ogg")
    is_low_then_high(wave, second=1.5)
    assert len(wave) == 2.5 * SAMPLE_RATE


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_a_chain_lasts_as_long_as_ffmpeg_says(subtype):
    chain = ogg_file(subtype) + ogg_file(subtype, HIGH, 1.5) + ogg_file(subtype, 880, 0.7)
    assert len(decode("audio", chain)) / SAMPLE_RATE == pytest.approx(
        seconds_by_ffmpeg(chain, "ogg"), abs=0.08 if subtype == "VORBIS" else 1e-9
    )


def test_each_link_of_a_chain_is_what_it_is_alone():
    links = [ogg_file("VORBIS"), ogg_file("OPUS", HIGH), encoded("ogg", "flac", samples.tone(), 48_000)]
    expected = np.concatenate([decode("audio", link) for link in links])
    assert (decode("audio", b"".join(links)) == expected).all()


def test_tags_and_padding_between_links_are_stepped_over():
    first, second = ogg_file("OPUS"), ogg_file("OPUS", HIGH)
    expected = decode("audio", first + second)
    for between in (bytes(777), samples.id3(b""), b"noise" * 50):
        assert (decode("audio", first + between + second) == expected).all()


def test_a_link_without_a_last_page_is_ended_by_the_next():
    *pages, last = ogg_pages(ogg_file("OPUS"))
    last[5] &= ~ogg.LAST_PAGE
    open_link = b"".join(pages) + sealed(last)
    is_low_then_high(decode("audio", open_link + ogg_file("OPUS", HIGH)))


def test_a_chain_whose_last_link_is_cut_off_is_invalid():
    chain = ogg_file("OPUS") + ogg_file("OPUS", HIGH)
    with pytest.raises(InvalidMedia, match=r"is cut off: [\d,]+ bytes are missing"):
        decode("audio", chain[:-100])


def test_endless_files_joined_in_one_are_refused():
    link = ogg_page(1, 0, 0, ogg.FIRST_PAGE, [b"x"]) + ogg_page(1, 1, 0, ogg.LAST_PAGE, [b"x"])
    for part in (link, b"fLaC\x80\0\0\x22" + bytes(34), b"#!AMR\n"):
        with pytest.raises(MediaTooLarge, match=r"1,001 sounds joined in one; the limit is 1,000"):
            decode("audio", part * 1_001)


@pytest.mark.parametrize(("rate", "channels"), [(48_000, 1), (44_100, 1), (48_000, 2), (22_050, 2)])
def test_mp3_after_mp3_is_heard_as_ffmpeg_hears_it(rate, channels):
    joined = mp3_file() + mp3_file(HIGH, 1.5, rate, channels)
    wave = decode("audio", joined, name="a.mp3")
    is_low_then_high(wave, second=1.5)
    assert len(wave) / SAMPLE_RATE == pytest.approx(seconds_by_ffmpeg(joined, "mp3"), abs=0.03)


@pytest.mark.parametrize("between", [samples.id3(b""), b"TAG" + bytes(125), bytes(3000), b"noise " * 99])
def test_tags_between_mp3s_are_no_sound(between):
    plain = decode("audio", mp3_file() + mp3_file(HIGH))
    assert (decode("audio", mp3_file() + between + mp3_file(HIGH)) == plain).all()
    tagged = samples.id3(mp3_file()) + between + samples.id3(mp3_file(HIGH))
    is_low_then_high(decode("audio", tagged))


def test_mp3s_without_xing_headers_are_joined_too():
    first, second = without_xing(mp3_file()), without_xing(mp3_file(HIGH))
    for data in (first + second, first + samples.id3(second), mp3_file() + second, first + mp3_file(HIGH)):
        is_low_then_high(decode("audio", data, name="a.mp3"))


def test_a_xing_header_without_a_count_of_bytes_tells_a_second_file_by_its_frames():
    mp3 = bytearray(mp3_file())
    at = max(mp3.find(b"Xing"), mp3.find(b"Info"))
    assert mp3[at + 7] & 2
    whole = decode("audio", bytes(mp3))
    mp3[at + 7] &= ~2
    mp3[at + 8 : at + 120] = mp3[at + 8 : at + 12] + mp3[at + 16 : at + 120] + bytes(4)
    assert abs(len(decode("audio", bytes(mp3))) - len(whole)) < 2400
    is_low_then_high(decode("audio", bytes(mp3) + mp3_file(HIGH)))


def test_what_follows_one_mp3_leaves_it_as_it_was():
    mp3 = mp3_file()
    ape = b"APETAGEX" + struct.pack("<IIII8x", 2000, 32, 0, 0)
    lyrics = b"LYRICSBEGINla la la000011LYRICS200"
    for behind in (b"TAG" + bytes(125), ape, lyrics + b"TAG" + bytes(125), bytes(500), b"junk"):
        assert (decode("audio", mp3 + behind, name="a.mp3") == decode("audio", mp3)).all()


def test_aac_after_aac_is_heard():
    second = encoded("adts", "aac", samples.tone(1.5, 24_000, HIGH), 24_000)
    joined = samples.file("audio", "a.aac") + samples.id3(second)
    is_low_then_high(decode("audio", joined, name="a.aac"), second=1.5)


@pytest.mark.parametrize("rate", [48_000, 16_000])
def test_flac_after_flac_is_heard(rate):
    first = samples.file("audio", "a.flac")
    second = samples.sound_file(samples.tone(1.5, rate, HIGH), rate, "FLAC")
    for between in (b"", samples.id3(b"")):
        wave = decode("audio", first + between + second)
        is_low_then_high(wave, second=1.5)
        assert len(wave) == 2.5 * SAMPLE_RATE


def test_amr_after_amr_is_heard():
    first, second = (
        encoded("amr", "libopencore_amrnb", samples.tone(1, 8000, hertz), 8000) for hertz in (LOW, HIGH)
    )
    is_low_then_high(decode("audio", first + second))


def test_ac3_after_ac3_is_heard():
    first, second = (encoded("ac3", "ac3", samples.tone(1, 48_000, hertz), 48_000) for hertz in (LOW, HIGH))
    wave = decode("audio", first + second)
    is_low_then_high(wave)
    assert len(wave) == len(by_ffmpeg(first + second, "ac3")[0][1])


@pytest.mark.parametrize("join", [ogg_file, mp3_file], ids=["ogg", "mp3"])
def test_a_chain_obeys_the_limit_of_seconds(join):
    part = join("VORBIS") if join is ogg_file else join()
    with pytest.raises(MediaTooLarge, match=r"more than 2\.5 s of sound"):
        decode("audio", part * 3, limits=Limits(max_seconds=2.5))


def test_a_chain_decodes_the_same_every_time():
    chain = ogg_file("VORBIS") + ogg_file("OPUS", HIGH, channels=2)
    assert (decode("audio", chain) == decode("audio", chain)).all()


@pytest.mark.parametrize(("name", "form"), [("a.webm", "matroska"), ("a.mka", "matroska"), ("a.m4a", "mov")])
def test_other_containers_last_as_long_as_ffmpeg_says(name, form):
    twice = samples.file("audio", name) * 2
    ((rate, expected),) = by_ffmpeg(twice, form)
    assert len(decode("audio", twice, name=name)) / SAMPLE_RATE == pytest.approx(len(expected) / rate)

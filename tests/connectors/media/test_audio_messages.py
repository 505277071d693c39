"""Not supported, damaged, empty and too large are four different answers."""

import struct

import numpy as np
import pytest
import samples
from sound_samples import encoded, wav

from connectors.errors import InvalidMedia, MediaTooLarge, UnsupportedMedia
from connectors.media import Limits, decode, sniff

MIDI = b"MThd\0\0\0\6\0\0\0\1\0\x60MTrk\0\0\0\4\0\xff\x2f\0"

UNREAD = {
    "MIDI": MIDI,
    "MIDI.": b"RIFF\x20\0\0\0RMIDdata" + MIDI,
    "Monkey's Audio": b"MAC \x96\x0f\0\0" + bytes(99),
    "Musepack": b"MPCKSH" + bytes(99),
    "TAK": b"tBaK" + bytes(99),
    "Shorten": b"ajkg\x02" + bytes(99),
    "DSDIFF": b"FRM8" + bytes(8) + b"DSD " + bytes(99),
    "Creative Voice": samples.sound_file(samples.tone(0.1), form="VOC", subtype="PCM_16"),
    "DTS": b"\x7f\xfe\x80\x01" + bytes(99),
    "RealMedia": b".RMF\0\0\0\x12" + bytes(99),
    "AVI": b"RIFF\x20\0\0\0AVI LIST" + bytes(99),
    "Flash": b"FLV\x01\x05" + bytes(99),
    "MPEG": b"\0\0\x01\xba" + bytes(99),
    "MPEG.": (b"G@\0\x10" + bytes(184)) * 4,
}


@pytest.mark.parametrize("kind", UNREAD)
def test_kinds_that_are_not_read_are_refused_by_name(kind):
    for name in (None, "a.bin", "a.wav"):
        with pytest.raises(UnsupportedMedia, match=kind):
            sniff(UNREAD[kind], name)


@pytest.mark.parametrize("suffix", ["mid", "midi", "ape", "mpc", "xm", "mod", "rm", "dts", "avi"])
def test_names_of_kinds_that_are_not_read_are_refused_whatever_the_bytes(suffix):
    for data in (b"\x01\x02\x03\x04" * 9, b"some text"):
        with pytest.raises(UnsupportedMedia, match=rf"a\.{suffix} is an? .+, which is not"):
            sniff(data, f"a.{suffix}")


@pytest.mark.parametrize("sentence", ["MAC addresses", "MP+ or MP-", "RIFF raff", "DSD ", "Great work by G"])
def test_sentences_are_text_whatever_they_begin_with(sentence):
    assert sniff(sentence.encode()).modality == "text"


def test_a_codec_that_is_not_known_is_not_supported():
    unknown = {
        "a.wav": wav(0x1234, bytes(96_000)),
        "a.mka": samples.file("audio", "a.mka").replace(b"A_AAC", b"A_XYZ"),
        "a.aifc": encoded("aiff", "pcm_mulaw", samples.tone(), 48_000).replace(b"ulaw", b"QQQQ"),
        "a.caf": encoded("caf", "pcm_s16be", samples.tone(), 48_000).replace(b"lpcm", b"QQQQ"),
        "a.au": b".snd" + struct.pack(">5I", 24, 1_000, 99, 48_000, 1) + bytes(1_000),
    }
    for name, data in unknown.items():
        with pytest.raises(UnsupportedMedia, match=f"{name} holds sound of a codec that is not supported"):
            decode("audio", data, name=name)


@pytest.mark.parametrize("tag", [b"enca", b"drms"])
def test_a_protected_sound_is_not_supported(tag):
    data = samples.file("audio", "a.m4a").replace(b"mp4a", tag)
    with pytest.raises(UnsupportedMedia, match=r"a\.m4a is protected \(DRM\)"):
        decode("audio", data, name="a.m4a")


@pytest.mark.parametrize("name", ["a.flac", "a.ogg", "a.mp3", "a.m4a", "a.mka", "a.aac", "a.aiff"])
def test_a_damaged_sound_says_so_in_words(name):
    whole = samples.file("audio", name)
    data = whole[:40] + bytes(len(whole) - 40)
    with pytest.raises(InvalidMedia) as caught:
        decode("audio", data, name=name)
    message = caught.value.message
    assert message.startswith((f"{name} is damaged", f"{name} is cut off", f"{name} holds no sound"))
    assert not any(word in message for word in ("Errno", "nknown", "Exception", "0x", "Invalid data"))


def test_a_header_that_lies_about_its_length_is_damaged_not_too_large():
    flac = bytearray(samples.file("audio", "a.flac"))
    flac[21] |= 0x0F
    flac[22:26] = b"\xff" * 4
    with pytest.raises(InvalidMedia, match="declares more sound than its bytes can hold"):
        decode("audio", bytes(flac))


def test_a_length_that_may_be_true_is_too_large():
    silence = samples.sound_file(np.zeros(3_600 * 1_000, np.int16), 1_000, "FLAC", "PCM_16")
    with pytest.raises(MediaTooLarge, match=r"has 3,600 s of sound; the limit is 600"):
        decode("audio", silence)


def test_a_video_without_a_sound_track_says_so():
    with pytest.raises(InvalidMedia, match=r"clip\.mp4 has no sound track"):
        decode("audio", samples.silent_video(), name="clip.mp4")


@pytest.mark.parametrize(
    "data",
    [
        wav(1, b""),
        b".snd" + struct.pack(">5I", 24, 0, 3, 48_000, 1),
        b"#!AMR\n",
    ],
)
def test_a_sound_without_samples_is_empty(data):
    with pytest.raises(InvalidMedia, match=r"nothing holds no sound"):
        decode("audio", data, name="nothing")


@pytest.mark.parametrize("channels", [65, 200, 1_000])
def test_more_channels_than_are_believed_are_too_many(channels):
    sound = np.zeros((480, channels), np.int16)
    with pytest.raises(MediaTooLarge, match=f"has {channels:,} channels; the limit is 64"):
        decode("audio", samples.sound_file(sound))


@pytest.mark.parametrize("rate", [1, 999, 768_001, 2**31 - 1])
def test_rates_that_nothing_records_at_are_named(rate):
    with pytest.raises(InvalidMedia, match=f"declares a sample rate of {rate:,} Hz"):
        decode("audio", wav(1, bytes(9_600), rate=rate), limits=Limits(max_seconds=1e6))


def test_endless_frames_and_junk_are_refused_soon():
    amr = b"#!AMR\n" + b"\x78" * 400_000
    ac3 = b"\x0b\x77\x40\x02\0\x80" * 400_000
    mp3 = samples.file("audio", "a.mp3") + b"\xff\xfb\x90\0" * 400_000
    for data in (amr, ac3, mp3):
        with pytest.raises(MediaTooLarge, match="300,000"):
            decode("audio", data)

"""Formats that soundfile does not write, and good files that are not as the book says."""

import io
import struct
from functools import cache

import av
import numpy as np
import pytest
import samples
import sound_samples
from hypothesis import given, settings
from hypothesis import strategies as st
from sound_samples import by_ffmpeg, encoded, ogg_pages, sealed, wav

from connectors.errors import InvalidMedia, MediaError
from connectors.media import Limits, decode, ogg, sniff
from connectors.modality import SAMPLE_RATE

TONE = samples.tone()
PCM = (TONE * 32767).astype("<i2").tobytes()

# How to write it, and FFmpeg's name for it.
FORMATS = {
    "a.wma": (lambda: encoded("asf", "wmav2", samples.tone(1, 44_100), 44_100, 128_000), "asf"),
    "a.amr": (lambda: encoded("amr", "libopencore_amrnb", samples.tone(1, 8_000), 8_000, 12_200), "amr"),
    "a.3gp": (lambda: encoded("3gp", "libopencore_amrnb", samples.tone(1, 8_000), 8_000, 12_200), "mov"),
    "a.au": (lambda: encoded("au", "pcm_s16be", TONE, 48_000), "au"),
    "ulaw.au": (lambda: encoded("au", "pcm_mulaw", TONE, 48_000), "au"),
    "a.caf": (lambda: encoded("caf", "pcm_s16be", TONE, 48_000), "caf"),
    "alac.caf": (lambda: encoded("caf", "alac", TONE, 48_000), "caf"),
    "a.aifc": (lambda: encoded("aiff", "pcm_mulaw", TONE, 48_000), "aiff"),
    "ima.aifc": (lambda: encoded("aiff", "adpcm_ima_qt", TONE, 48_000), "aiff"),
    "a.w64": (lambda: encoded("w64", "pcm_s16le", TONE, 48_000), "w64"),
    "a.rf64": (lambda: samples.sound_file(TONE, form="RF64", subtype="PCM_16"), "wav"),
    "a.bw64": (lambda: b"BW64" + samples.sound_file(TONE, form="RF64", subtype="PCM_16")[4:], "wav"),
    "a.ac3": (lambda: encoded("ac3", "ac3", samples.tone(1, 44_100), 44_100), "ac3"),
    "32khz.ac3": (lambda: encoded("ac3", "ac3", samples.tone(1, 32_000), 32_000), "ac3"),
    "a.eac3": (lambda: encoded("eac3", "eac3", TONE, 48_000), "eac3"),
    "a.wv": (lambda: encoded("wv", "wavpack", TONE, 48_000), "wv"),
    "a.tta": (lambda: encoded("tta", "tta", TONE, 48_000), "tta"),
    "a.dsf": (lambda: sound_samples.dsf(samples.tone(0.25, 2_822_400)), "dsf"),
    "a.mov": (lambda: encoded("mov", "pcm_s16le", TONE, 48_000), "mov"),
    "a.mp2": (lambda: encoded("mp2", "mp2", TONE, 48_000), "mp3"),
    "mp3.wav": (lambda: encoded("wav", "libmp3lame", TONE, 48_000, 128_000), "wav"),
    "ima.wav": (lambda: encoded("wav", "adpcm_ima_wav", TONE, 48_000), "wav"),
    "g722.wav": (lambda: encoded("wav", "g722", samples.tone(1, 16_000), 16_000), "wav"),
    "flac.ogg": (lambda: encoded("ogg", "flac", TONE, 48_000), "ogg"),
    "a.spx": (sound_samples.speex, "ogg"),
    "12.flac": (lambda: sound_samples.flac(TONE, 48_000, 12), "flac"),
    "15.flac": (lambda: sound_samples.flac(TONE, 48_000, 15), "flac"),
    "20.flac": (lambda: sound_samples.flac(TONE, 48_000, 20), "flac"),
    "32.flac": (lambda: sound_samples.flac(TONE, 48_000, 32), "flac"),
}


@cache
def file(name):
    return FORMATS[name][0]()


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_the_sound_that_ffmpeg_reads(name):
    data = file(name)
    wave = decode("audio", data, name=name)
    ((rate, expected),) = by_ffmpeg(data, FORMATS[name][1])
    # What a header declares as padding may be played or not.
    assert abs(len(wave) / SAMPLE_RATE - len(expected) / rate) < 0.03
    common = np.arange(4_800, min(len(wave), len(expected) * SAMPLE_RATE // rate) - 4_800)
    resampled = np.interp(common / SAMPLE_RATE, np.arange(len(expected)) / rate, expected)
    shifts = [np.corrcoef(wave[common + shift], resampled)[0, 1] for shift in range(-2_400, 2_401, 50)]
    exact = np.corrcoef(wave[common], resampled)[0, 1]
    assert exact > 0.95 or max(shifts) > 0.95
    if name not in ("a.spx", "a.dsf"):
        assert abs(np.sqrt(np.mean(wave[common] ** 2)) - 0.5 / np.sqrt(2)) < 0.06


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("kept", [0.3, 0.777, 0.95])
def test_a_format_that_was_cut_off_is_invalid(name, kept):
    data = file(name)
    # Not where a frame ends: there nothing shows that more were to come.
    end = int(len(data) * kept) + (7 if name == "a.mp2" else 0)
    with pytest.raises(InvalidMedia, match=rf"{name} is (damaged or )?cut off"):
        decode("audio", data[:end], name=name)


@pytest.mark.parametrize("name", FORMATS)
def test_the_bytes_tell_the_format_without_a_name(name):
    assert sniff(file(name)).modality == "audio"
    assert np.array_equal(decode("audio", file(name)), decode("audio", file(name), name=name))


@pytest.mark.parametrize("name", [name for name, (_, demuxer) in FORMATS.items() if demuxer != "mov"])
def test_a_tag_before_the_sound_changes_nothing(name):
    assert np.array_equal(decode("audio", samples.id3(file(name)), name=name), decode("audio", file(name)))


@pytest.mark.parametrize(
    "name", ["a.amr", "a.ac3", "a.eac3", "a.wv", "a.tta", "a.mp2", "20.flac", "flac.ogg"]
)
def test_tags_behind_the_sound_change_nothing(name):
    ape = b"APETAGEX" + struct.pack("<IIII8x", 2000, 32, 0, 0)
    lyrics = b"LYRICSBEGINla la la000011LYRICS200"
    for behind in (b"TAG" + bytes(125), ape, ape + b"TAG" + bytes(125), lyrics + b"TAG" + bytes(125)):
        assert np.array_equal(decode("audio", file(name) + behind), decode("audio", file(name)))


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.filterwarnings("ignore")
@settings(max_examples=25, deadline=2_000, derandomize=True)
@given(
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=8),
    near_start=st.booleans(),
    kept=st.one_of(st.just(1.0), st.floats(0, 1)),
)
def test_damage_raises_media_errors_and_nothing_else(name, flips, near_start, kept):
    data = bytearray(file(name))
    for place, value in flips:
        data[int(place * (min(len(data), 300) if near_start else len(data)))] = value
    try:
        wave = decode("audio", bytes(data[: int(len(data) * kept)]), name=name)
    except MediaError as error:
        assert error.message.startswith(name)
        assert "object at 0x" not in error.message
        assert "Errno" not in error.message
    else:
        assert np.isfinite(wave).all()


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_bytes_around_an_ogg_change_nothing(subtype):
    plain = samples.sound_file(TONE, form="OGG", subtype=subtype)
    for data in (samples.id3(plain), plain + bytes(1_000), plain + b"TAG" + bytes(125), plain + b"junk" * 99):
        assert np.array_equal(decode("audio", data), decode("audio", plain))


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_an_ogg_captured_live_needs_no_last_page(subtype):
    pages = ogg_pages(samples.sound_file(samples.tone(3), form="OGG", subtype=subtype))
    for page in pages:
        granule = struct.unpack_from("<q", page, 6)[0]
        struct.pack_into("<q", page, 6, granule + 5_000_000 * (granule > 0))
    pages[-1][5] &= ~ogg.LAST_PAGE
    live = b"".join(map(sealed, pages))
    wave = decode("audio", live)
    assert len(wave) == len(by_ffmpeg(live, "ogg")[0][1])
    assert abs(len(wave) / SAMPLE_RATE - 3) < 0.1
    with pytest.raises(InvalidMedia, match="cut off"):
        decode("audio", live[:-50])


def test_an_ogg_with_a_damaged_page_is_invalid():
    data = bytearray(samples.sound_file(samples.tone(3), form="OGG", subtype="OPUS"))
    data[len(data) // 2] ^= 1
    with pytest.raises(InvalidMedia):
        decode("audio", bytes(data))


OPEN_SIZES = [0, 0x7FFFFFFF, 0x7FFFF024, 0x80000000, 0xFFFFFFFF, 0xFFFFFFF0, 0xFFFFFF00, 0xFFFFFFDB]


@pytest.mark.parametrize("size", OPEN_SIZES, ids=hex)
def test_a_wav_that_was_streamed_is_read_to_its_end(size):
    data = wav(1, PCM, size)
    expected = np.frombuffer(PCM, "<i2") / np.float32(32768)
    assert np.array_equal(decode("audio", data), expected)
    assert len(by_ffmpeg(data, "wav")[0][1]) == len(expected)


@pytest.mark.parametrize("form", [b"RF64", b"BW64"])
@pytest.mark.parametrize("size", [0, 2**63 - 1, 2**64 - 1, 0xFFFFFFFF])
def test_a_wide_wav_that_was_streamed_is_read_to_its_end(form, size):
    data = bytearray(samples.sound_file(TONE, form="RF64", subtype="PCM_16"))
    data[:4] = form
    struct.pack_into("<Q", data, 28, size)
    assert np.array_equal(
        decode("audio", bytes(data)), decode("audio", samples.sound_file(TONE, subtype="PCM_16"))
    )


def test_a_wav_without_samples_is_empty_not_streamed():
    info = b"LIST" + struct.pack("<I4s", 4, b"INFO")
    for behind in (b"", info, info + info):
        with pytest.raises(InvalidMedia, match="holds no sound"):
            decode("audio", wav(1, b"") + behind)


def test_a_size_that_counts_a_header_too_much_is_no_cut():
    for extra in (1, 8, 36, 44):
        assert len(decode("audio", wav(1, PCM, len(PCM) + extra))) == SAMPLE_RATE
    with pytest.raises(InvalidMedia, match="is cut off: 1,000 bytes are missing"):
        decode("audio", wav(1, PCM, len(PCM) + 1_000))


@pytest.mark.parametrize("first", ["moov", "mdat", "wide", "free", "skip"])
def test_a_mov_without_ftyp_is_read(first):
    data = file("a.mov")
    boxes = {}
    position = 0
    while position < len(data):
        size, kind = struct.unpack_from(">I4s", data, position)
        boxes[kind.decode()] = data[position : position + size]
        position += size
    # Offsets into mdat stay right where the box put first is as long as those it replaces.
    lead = len(data) - len(boxes["mdat"]) - len(boxes["moov"])
    if first in ("wide", "free", "skip"):
        bare = struct.pack(">I4s", lead, first.encode()) + bytes(lead - 8) + data[lead:]
    else:
        table = boxes["moov"]
        at = table.index(b"stco") + 12
        offset = (len(table) if first == "moov" else 0) + 8
        moved = table[:at] + struct.pack(">I", offset) + table[at + 4 :]
        bare = moved + boxes["mdat"] if first == "moov" else boxes["mdat"] + moved
    assert sniff(bare).mime == "video/mp4"
    assert np.array_equal(decode("audio", bare), decode("audio", data))


@pytest.mark.parametrize("text", ["The free world", "Our mdat", "Far wide", "The moov"])
def test_sentences_are_no_mov(text):
    assert sniff(text.encode()).modality == "text"


def test_bytes_behind_an_mp4_are_no_cut():
    data = samples.file("audio", "a.m4a")
    for behind in (b"TAG" + bytes(125), b"junkjunkjunkjunk", bytes(99)):
        assert np.array_equal(decode("audio", data + behind), decode("audio", data))


@pytest.mark.parametrize("form", ["mov", "matroska", "caf", "w64", "wav"])
@pytest.mark.parametrize("channels", [8, 10, 24, 64])
def test_many_channels_are_read_by_both_libraries(form, channels):
    sound = np.zeros((4_800, channels), np.float32)
    sound[:, 0] = samples.tone(0.1)
    data = samples.sound_file(sound, form={"w64": "W64", "caf": "CAF"}.get(form, "WAV"), subtype="FLOAT")
    if form in ("mov", "matroska"):
        data = repacked(data, form)
    assert np.allclose(decode("audio", data), sound.mean(axis=1), atol=1e-6)


def repacked(data, form):
    """The track of a wave file in another container."""
    out = io.BytesIO()
    with av.open(io.BytesIO(data)) as old, av.open(out, "w", format=form) as new:
        track = new.add_stream_from_template(old.streams.audio[0])
        for packet in old.demux():
            if packet.dts is not None:
                packet.stream = track
                new.mux(packet)
    return out.getvalue()


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_obeys_the_limit_of_seconds(name):
    with pytest.raises(MediaError, match=f"{name} has .* of sound; the limit is 0.1"):
        decode("audio", file(name), name=name, limits=Limits(max_seconds=0.1))

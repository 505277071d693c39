"""Sound from bytes: any common format, rate and channel count in, 48 kHz mono float32 out.

libsndfile reads wav, aiff, au, caf, w64, flac, ogg (Vorbis, Opus) and mp3; FFmpeg, through PyAV, the
rest, the sound of videos, and what libsndfile refuses. Both hand over blocks, which are counted,
mixed and resampled as they come, so memory is bounded by `max_seconds` whatever the header declares.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from itertools import groupby

import numpy as np
import soundfile
import soxr

from connectors.media import completeness, framed, mp3, ogg, riff
from connectors.media.mono import Channels, Mixer
from connectors.media.sniff import expect
from connectors.media.sound_stream import Stream, Undecodable, libsndfile, unknown_codec
from connectors.media.source import Source
from connectors.media.tags import sound_end, sound_start
from connectors.modality import SAMPLE_RATE, Waveform

RATES = range(1_000, 768_001)
"""Sample rates believed, in Hz."""

WHOLE: dict[str, Callable[[Source], None]] = {
    "audio/aiff": completeness.check_aiff,
    "audio/basic": completeness.check_au,
    "audio/x-caf": completeness.check_caf,
    "audio/x-w64": completeness.check_w64,
    "audio/x-ms-wma": completeness.check_asf,
    "audio/x-dsf": completeness.check_dsf,
    "audio/mp4": completeness.check_mp4,
    "video/mp4": completeness.check_mp4,
    "audio/webm": completeness.check_webm,
    "video/x-matroska": completeness.check_webm,
}
"""Checks that a file is whole. Those of other formats come with their parts, below."""

DEMUXERS = {
    "audio/wav": "wav",
    "audio/aiff": "aiff",
    "audio/basic": "au",
    "audio/x-caf": "caf",
    "audio/x-w64": "w64",
    "audio/flac": "flac",
    "audio/ogg": "ogg",
    "audio/mpeg": "mp3",
    "audio/mp4": "mov",
    "video/mp4": "mov",
    "audio/webm": "matroska",
    "video/x-matroska": "matroska",
    "audio/aac": "aac",
    "audio/ac3": "ac3",
    "audio/amr": "amr",
    "audio/x-ms-wma": "asf",
    "audio/x-wavpack": "wv",
    "audio/x-tta": "tta",
    "audio/x-dsf": "dsf",
}
"""FFmpeg's names for the formats."""

MOST_JOINED = 1_000
"""Files joined in one."""

UNIMPLEMENTED = 18
"""libsndfile's code for AIFF-C of a compression it does not know, which to FFmpeg is bad data."""

FLAC_HEAD = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")
"""A FLAC file's first bytes, and those of STREAMINFO behind them. Source: RFC 9639, sections 6 to 8.2."""

Opened = Callable[[], AbstractContextManager[Stream]]
"""Opens one part of a sound. It may be opened again."""


def decode(source: Source) -> Waveform:
    """Return float32 [samples], mono, at 48 kHz.

    Mono is the mean of the channels, or where they cancel (opposite phase) the one of most energy:
    see `Mixer`. Files joined end to end (ogg, mp3, flac, aac, ac3, amr) are heard one after another.

    Raises `MediaTooLarge` past `max_seconds`, from the header where it tells and otherwise as soon
    as decoding gets there; `UnsupportedMedia` if it is protected or of an unknown codec;
    `InvalidMedia` if the file is damaged, cut off, empty, holds samples that are not finite, or no
    sound at all.
    """
    mime = expect(source, "audio")
    with source.reading(mime), _clear_reasons(source, mime), np.errstate(all="ignore"):
        sound = _Waveform(source)
        parts = _parts(source, mime)
        if len(parts) > MOST_JOINED:
            raise source.too_large(f"{len(parts):,} sounds joined in one", f"{MOST_JOINED:,}")
        for opened in parts:
            sound.add(opened)
        return sound.join()


def _parts(source: Source, mime: str) -> list[Opened]:
    """The sounds that follow one another in the file."""
    if mime not in ("audio/mpeg", "audio/aac"):  # their readers step over tags
        source = replace(source, data=source.data[sound_start(source.data) :])
    if mime in ("audio/amr", "audio/x-wavpack"):
        source = replace(source, data=source.data[: sound_end(source.data)])
    if mime in WHOLE:
        WHOLE[mime](source)
    demuxer = DEMUXERS[mime]
    match mime:
        case "audio/mpeg":
            if mp3.has_xing(source.data) and not mp3.is_chained(source):
                return [_either(source, source.data, demuxer)]
            # libsndfile reads no more than one file's frames, and takes a guess at uncounted ones.
            return [partial(ffmpeg, source, mp3.only_frames(source), demuxer)]
        case "audio/flac":
            return [
                partial(ffmpeg, source, part, demuxer)
                if _is_open_flac(part)
                else _either(source, part, demuxer)
                for part in _split_flac(source.data)
            ]
        case "audio/ogg":
            return [_ogg_link(source, link, demuxer) for link in ogg.split_ogg(source)]
        case "audio/amr":
            return [partial(ffmpeg, source, part, demuxer) for part in framed.split_amr(source)]
        case "audio/ac3":
            frames = framed.whole_ac3(source)
            return [partial(ffmpeg, source, frames, "eac3" if framed.is_eac3(frames) else demuxer)]
        case "audio/wav":
            return [_either(source, riff.whole_wav(source), demuxer)]
        case "audio/aiff" | "audio/basic" | "audio/x-caf" | "audio/x-w64":
            return [_either(source, source.data, demuxer)]
    return [partial(ffmpeg, source, source.data, demuxer)]


def _ogg_link(source: Source, link: ogg.Link, demuxer: str) -> Opened:
    data = source.data[link.start : link.end]
    # libsndfile counts samples from 0 to the last page.
    return partial(ffmpeg, source, data, demuxer) if link.is_partial else _either(source, data, demuxer)


@contextmanager
def ffmpeg(source: Source, data: bytes, demuxer: str) -> Iterator[Stream]:
    """Open a file with FFmpeg; see `connectors.media.ffmpeg_sound`."""
    from connectors.media.ffmpeg_sound import ffmpeg as read

    with read(source, data, demuxer) as stream:
        yield stream


def _either(source: Source, data: bytes, demuxer: str) -> Opened:
    """Open a file with libsndfile, or with FFmpeg if libsndfile refuses it."""

    @contextmanager
    def opened() -> Iterator[Stream]:
        with ExitStack() as stack:
            try:
                stream = stack.enter_context(libsndfile(source, data))
            except soundfile.LibsndfileError as refusal:
                try:
                    stream = stack.enter_context(ffmpeg(source, data, demuxer))
                except Undecodable as error:
                    if error.is_bad_data and demuxer == "aiff" and refusal.code == UNIMPLEMENTED:
                        raise unknown_codec(source) from error
                    raise
            yield stream

    return opened


def _split_flac(data: bytes) -> list[bytes]:
    """FLAC files joined end to end. Neither library reads past the first as it is."""
    starts = [found.start() for found in FLAC_HEAD.finditer(data)] or [0]
    return [data[start:end] for start, end in zip([0, *starts[1:]], [*starts[1:], len(data)], strict=True)]


def _is_open_flac(data: bytes) -> bool:
    """Return whether the sample count of STREAMINFO is 0, as written to a pipe: libsndfile refuses it."""
    return int.from_bytes(data[21:26], "big") & (1 << 36) - 1 == 0


@contextmanager
def _clear_reasons(source: Source, mime: str) -> Iterator[None]:
    """Put what the libraries raise in words. Their own are "unknown error" and numbers."""
    try:
        yield
    except (Undecodable, soundfile.SoundFileError) as error:
        raise source.invalid(f"is damaged or cut off: its sound cannot be decoded as {mime}") from error


class _Waveform:
    """A waveform under way: mixed, resampled and counted as its blocks come."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._samples: Waveform = np.empty(0, np.float32)
        self._length = 0
        self._seconds = 0.0

    def add(self, opened: Opened) -> None:
        """Append one part of the sound; read it once more if its channels cancel."""
        before = self._length, self._seconds
        mixer = Mixer()
        self._read(opened, mixer.mean)
        if mixer.cancelled():
            self._length, self._seconds = before
            self._read(opened, mixer.remix)

    def join(self) -> Waveform:
        """Return the whole."""
        shortest = self._source.limits.min_seconds
        if self._seconds == 0:
            raise self._source.invalid("holds no sound")
        if self._seconds < shortest:
            raise self._source.invalid(f"lasts {self._seconds:.3f} s; at least {shortest:g} are needed")
        return self._samples[: self._length]

    def _read(self, opened: Opened, mix: Callable[[Channels], Waveform]) -> None:
        with opened() as stream:
            expected = min(stream.seconds, self._source.limits.max_seconds)
            self._reserve(self._length + int(expected * SAMPLE_RATE) + SAMPLE_RATE)
            for rate, run in groupby(stream.blocks, lambda block: block.rate):
                self._resample(rate, (mix(block.samples) for block in run))

    def _resample(self, rate: int, blocks: Iterator[Waveform]) -> None:
        source = self._source
        if rate not in RATES:
            raise source.invalid(f"declares a sample rate of {rate:,} Hz")
        resampler = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")
        before, count = self._seconds, 0
        for block in blocks:
            count += len(block)
            self._seconds = before + count / rate
            if self._seconds > source.limits.max_seconds:
                limit = f"{source.limits.max_seconds:g}"
                raise source.too_large(f"more than {limit} s of sound", limit)
            if not np.isfinite(block).all():
                raise source.invalid("has samples that are not finite numbers")
            self._append(block if rate == SAMPLE_RATE else resampler.resample_chunk(block, last=False))
        if rate != SAMPLE_RATE:
            self._append(resampler.resample_chunk(np.zeros(0, np.float32), last=True))

    def _append(self, piece: Waveform) -> None:
        end = self._length + len(piece)
        if end > len(self._samples):
            self._reserve(end)
        self._samples[self._length : end] = piece
        self._length = end

    def _reserve(self, length: int) -> None:
        """Make room for `length` samples in one array: to join pieces would take twice the memory."""
        if length > len(self._samples):
            wider = np.empty(max(length, len(self._samples) * 3 // 2), np.float32)
            wider[: self._length] = self._samples[: self._length]
            self._samples = wider

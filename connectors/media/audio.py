"""Sound from bytes: any common format, rate and channel count in, 48 kHz mono float32 out.

soundfile reads wav, aiff, flac, ogg (Vorbis, Opus) and mp3; PyAV reads mp4, m4a, webm and aac, also the
sound of a video. Both hand over mono blocks, which are counted and resampled as they come,
so memory is bounded by `max_seconds` whatever the header declares.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import cast

import av
import numpy as np
import soundfile
import soxr

from connectors.media import completeness
from connectors.media.sniff import expect
from connectors.media.source import Source
from connectors.modality import SAMPLE_RATE, Waveform

BLOCK_SAMPLES = 1 << 20
"""Samples read at a time, over all channels."""

RATES = range(1_000, 768_001)
"""Sample rates believed, in Hz."""

MP3_SLACK = 2 * 1152
"""Samples an mp3 may lack against its Xing header: encoders count their padding differently."""

WHOLE: dict[str, Callable[[Source], None]] = {
    "audio/wav": completeness.check_wav,
    "audio/aiff": completeness.check_aiff,
    "audio/ogg": completeness.check_ogg,
    "audio/mp4": completeness.check_mp4,
    "video/mp4": completeness.check_mp4,
    "audio/webm": completeness.check_webm,
    "video/x-matroska": completeness.check_webm,
}

# FFmpeg's demuxer is named, never guessed: some of those it would try open other files and URLs.
DEMUXERS = {
    "audio/mp4": "mov",
    "video/mp4": "mov",
    "audio/webm": "matroska",
    "video/x-matroska": "matroska",
    "audio/aac": "aac",
    "audio/mpeg": "mp3",
    "audio/flac": "flac",
}


@dataclass(frozen=True, slots=True)
class Stream:
    """Sound on its way: `rate` in Hz, and mono float32 [samples] blocks."""

    rate: int
    blocks: Iterator[Waveform]


def decode(source: Source) -> Waveform:
    """Return float32 [samples], mono (mean of the channels), at 48 kHz.

    Raises `MediaTooLarge` past `max_seconds`, from the header where it tells and otherwise as soon
    as decoding gets there; `InvalidMedia` if the file is damaged, cut off, empty, holds samples
    that are not finite, or no sound at all.
    """
    mime = expect(source, "audio")
    with source.reading(mime):
        if mime in WHOLE:
            WHOLE[mime](source)
        demuxer = _demuxer(source, mime)
        opened = _container(source, demuxer) if demuxer else _soundfile(source)
        with opened as stream, np.errstate(all="ignore"):
            return _collect(source, stream)


@contextmanager
def _soundfile(source: Source) -> Iterator[Stream]:
    """Sound as libsndfile reads it."""
    with soundfile.SoundFile(BytesIO(source.data)) as file:
        declared = file.frames
        _check_seconds(source, declared, file.samplerate)

        def blocks() -> Iterator[Waveform]:
            size = max(BLOCK_SAMPLES // file.channels, 1)
            count = 0
            while len(block := file.read(size, dtype="float32", always_2d=True)):
                count += len(block)
                yield block.mean(axis=1)
            if count < declared - (MP3_SLACK if file.format == "MP3" else 0):
                raise source.invalid(f"is cut off: {declared - count:,} samples are missing")

        yield Stream(file.samplerate, blocks())


def _demuxer(source: Source, mime: str) -> str | None:
    """FFmpeg's demuxer for the file, or None if it is one for libsndfile.

    libsndfile reads no more samples than a file declares, and where it declares none takes a guess
    (mp3) or refuses (flac, as written to a pipe). FFmpeg reads such files to their end.
    """
    if mime == "audio/mpeg" and _has_xing(source.data):
        return None
    if mime == "audio/flac" and not _is_open_flac(source.data):
        return None
    return DEMUXERS.get(mime)


def _is_open_flac(data: bytes) -> bool:
    """Whether the 36-bit sample count of STREAMINFO is 0. Source: RFC 9639, section 8.2."""
    return data[:4] == b"fLaC" and int.from_bytes(data[21:26], "big") & (1 << 36) - 1 == 0


def _has_xing(data: bytes) -> bool:
    """Whether the first mp3 frame, after an ID3 tag, counts the frames of the file."""
    start = 0
    if data[:3] == b"ID3":
        size = data[6:10].ljust(4, b"\0")
        start = 10 + (size[0] << 21 | size[1] << 14 | size[2] << 7 | size[3])
    head = data[start : start + 512]
    return b"Xing" in head or b"Info" in head


@contextmanager
def _container(source: Source, demuxer: str) -> Iterator[Stream]:
    """The first sound track of a container, as FFmpeg reads it."""
    with av.open(BytesIO(source.data), "r", format=demuxer, metadata_errors="replace") as container:
        if not container.streams.audio:
            raise source.invalid("has no sound track")
        track = container.streams.audio[0]
        if track.duration is not None and track.time_base is not None and demuxer == "mov":
            _check_seconds(source, int(track.duration), 1 / float(track.time_base))
        elif container.duration is not None and demuxer == "matroska":
            _check_seconds(source, container.duration, av.time_base)
        to_float = av.AudioResampler(format="fltp")
        frames = (part for frame in container.decode(track) for part in to_float.resample(frame))
        first = next(frames, None)
        if first is None:
            raise source.invalid("holds no sound")

        def blocks() -> Iterator[Waveform]:
            yield cast(Waveform, first.to_ndarray()).mean(axis=0)
            for frame in frames:
                yield cast(Waveform, frame.to_ndarray()).mean(axis=0)

        yield Stream(first.sample_rate, blocks())


def _check_seconds(source: Source, count: int, rate: float) -> None:
    if count > source.limits.max_seconds * rate:
        raise source.too_large(f"{count / rate:,.0f} s of sound", f"{source.limits.max_seconds:g}")


def _collect(source: Source, stream: Stream) -> Waveform:
    """Resample and join the blocks, counting as they come."""
    if stream.rate not in RATES:
        raise source.invalid(f"declares a sample rate of {stream.rate:,} Hz")
    resampler = soxr.ResampleStream(stream.rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")
    parts: list[Waveform] = []
    count = 0
    for block in stream.blocks:
        count += len(block)
        _check_seconds(source, count, stream.rate)
        if not np.isfinite(block).all():
            raise source.invalid("has samples that are not finite numbers")
        parts.append(block if stream.rate == SAMPLE_RATE else resampler.resample_chunk(block, last=False))
    if count == 0:
        raise source.invalid("holds no sound")
    if count < source.limits.min_seconds * stream.rate:
        raise source.invalid(
            f"lasts {count / stream.rate:.3f} s; at least {source.limits.min_seconds:g} are needed"
        )
    if stream.rate != SAMPLE_RATE:
        parts.append(resampler.resample_chunk(np.zeros(0, np.float32), last=True))
    return np.concatenate(parts)

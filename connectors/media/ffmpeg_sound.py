"""Sound as FFmpeg reads it, through PyAV: the formats that libsndfile does not, and what it refuses.

PyAV is the largest library that decodes; this module is imported when a sound first needs it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer

from connectors.errors import UnsupportedMedia
from connectors.media.mono import Channels
from connectors.media.sound_stream import (
    ROUNDING,
    Block,
    Stream,
    Undecodable,
    check_channels,
    check_complete,
    check_declared,
    unknown_codec,
)
from connectors.media.source import Source

BATCH_SAMPLES = 1 << 16
"""Samples of FFmpeg's frames, over all channels, that make a block: a frame has some 1,000."""

EXACT = {"flac", "wv", "tta", "dsf"}
"""Demuxers of formats whose header counts every sample."""

ENCRYPTED = ("enca", "drms")
"""Tags of tracks that are protected (ISO/IEC 14496-12, 8.12; Apple's FairPlay)."""


@contextmanager
def ffmpeg(source: Source, data: bytes, demuxer: str) -> Iterator[Stream]:
    """Read the first sound track of `data` as FFmpeg does. Raises `Undecodable` if it cannot.

    `demuxer` is named, never guessed: some of those FFmpeg would try open other files and URLs.
    """
    with _errors(source), av.open(BytesIO(data), "r", format=demuxer, metadata_errors="replace") as container:
        track = _track(source, container)
        seconds = max(container.duration or 0, 0) / av.time_base
        declared = 0
        if demuxer in EXACT | {"mov"} and track.duration is not None and track.time_base is not None:
            seconds = float(track.duration * track.time_base)
            declared = round(seconds * track.rate) if demuxer in EXACT else 0
        if demuxer in EXACT | {"mov", "matroska"}:  # of others FFmpeg makes a guess
            check_declared(source, data, seconds, track.rate)
        yield Stream(seconds, _frame_blocks(source, container, track, declared))


def _track(source: Source, container: InputContainer) -> AudioStream:
    if not container.streams.audio:
        raise source.invalid("has no sound track")
    track = container.streams.audio[0]
    if track.codec_context is None:
        raise unknown_codec(source)
    if _tag(track) in ENCRYPTED:
        raise UnsupportedMedia(f"{source.label} is protected (DRM), which is not supported")
    return track


def _tag(track: AudioStream) -> str:
    try:
        return track.codec_context.codec_tag
    except UnicodeDecodeError:  # a number, as in wav and avi
        return ""


def _frame_blocks(
    source: Source, container: InputContainer, track: AudioStream, declared: int
) -> Iterator[Block]:
    """Join the frames to blocks of one rate and one number of channels."""
    total = count = 0
    batch: list[Channels] = []
    form: tuple[int, int] | None = None
    for rate, samples in _frames(source, container, track):
        if batch and (form != (rate, samples.shape[1]) or count >= BATCH_SAMPLES):
            yield Block(form[0] if form else rate, np.concatenate(batch))
            batch, count = [], 0
        form = rate, samples.shape[1]
        batch.append(samples)
        count += samples.size
        total += len(samples)
    if batch and form:
        yield Block(form[0], np.concatenate(batch))
    check_complete(source, total, declared, ROUNDING * (form[0] if form else 0))


def _frames(source: Source, container: InputContainer, track: AudioStream) -> Iterator[tuple[int, Channels]]:
    """Rate and samples of each frame.

    Frames of many channels are converted to packed float: of planar ones with eight or more PyAV
    (18.1) reads past the end of an array, which ends the process.
    """
    to_float = av.AudioResampler(format="flt")
    last: tuple[str, str, int] | None = None
    for frame in container.decode(track):
        channels, rate = frame.layout.nb_channels, frame.sample_rate
        if frame.format.name == "fltp" and channels < 8:
            yield rate, np.asarray(frame.to_ndarray(), np.float32).T
            continue
        check_channels(source, channels)
        form = frame.format.name, frame.layout.name, rate
        if form != last:  # as in a chain; a resampler takes frames of one form
            to_float = av.AudioResampler(format="flt")
            last = form
        for part in to_float.resample(frame):
            yield rate, np.asarray(part.to_ndarray(), np.float32).reshape(-1, channels)


@contextmanager
def _errors(source: Source) -> Iterator[None]:
    """Translate FFmpeg's errors."""
    try:
        yield
    except av.error.PatchWelcomeError as error:
        raise unknown_codec(source) from error
    except av.FFmpegError as error:
        raise Undecodable(str(error), is_bad_data=isinstance(error, av.error.InvalidDataError)) from error

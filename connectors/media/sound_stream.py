"""Sound as its reader hands it over: blocks of samples, as libsndfile or FFmpeg decodes them.

Both read a file from memory a block at a time, hold what its header declares against `max_seconds`
before they decode anything, and open nothing else.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO

import av
import numpy as np
import soundfile
from av.audio.stream import AudioStream
from av.container import InputContainer

from connectors.errors import UnsupportedMedia
from connectors.media.mono import Channels
from connectors.media.source import Source

BLOCK_SAMPLES = 1 << 20
"""Samples libsndfile reads at a time, over all channels."""

BATCH_SAMPLES = 1 << 16
"""Samples of FFmpeg's frames, over all channels, that make a block: a frame has some 1,000."""

MOST_CHANNELS = 64
DENSEST = 65_536
"""Samples a byte may hold. FLAC packs most: a silent block of 65,535 in some ten bytes."""

MPEG_SLACK = 2 * 1152
"""Samples an mp3 may lack against its header: encoders count their padding differently."""

ROUNDING = 0.01
"""Seconds a sound may lack against its header: encoders round to a block, and players cut the padding."""

EXACT = {"flac", "wv", "tta", "dsf"}
"""Demuxers of formats whose header counts every sample."""

ENCRYPTED = ("enca", "drms")
"""Tags of tracks that are protected (ISO/IEC 14496-12, 8.12; Apple's FairPlay)."""


@dataclass(frozen=True, slots=True)
class Block:
    """Samples of one rate, in Hz."""

    rate: int
    samples: Channels


@dataclass(frozen=True, slots=True)
class Stream:
    """Blocks as they come, and how many seconds the header has them last: a hint, 0 if it has none."""

    seconds: float
    blocks: Iterator[Block]


@contextmanager
def libsndfile(source: Source, data: bytes) -> Iterator[Stream]:
    """Read `data` as libsndfile does. Raises `soundfile.SoundFileError` if it cannot."""
    with soundfile.SoundFile(BytesIO(data)) as file:
        _check_channels(source, file.channels)
        seconds = file.frames / file.samplerate
        _check_declared(source, data, seconds, file.samplerate)
        yield Stream(seconds, _file_blocks(source, file))


def _file_blocks(source: Source, file: soundfile.SoundFile) -> Iterator[Block]:
    size = max(BLOCK_SAMPLES // file.channels, 1)
    count = 0
    while len(block := file.read(size, dtype="float32", always_2d=True)):
        count += len(block)
        yield Block(file.samplerate, block)
    slack = MPEG_SLACK if file.subtype.startswith("MPEG") else 0
    _check_complete(source, count, file.frames, max(slack, ROUNDING * file.samplerate))


@contextmanager
def ffmpeg(source: Source, data: bytes, demuxer: str) -> Iterator[Stream]:
    """Read the first sound track of `data` as FFmpeg does. Raises `av.FFmpegError` if it cannot.

    `demuxer` is named, never guessed: some of those FFmpeg would try open other files and URLs.
    """
    try:
        opened = av.open(BytesIO(data), "r", format=demuxer, metadata_errors="replace")
    except av.error.PatchWelcomeError as error:
        raise unknown_codec(source) from error
    with opened as container:
        track = _track(source, container)
        seconds = max(container.duration or 0, 0) / av.time_base
        declared = 0
        if demuxer in EXACT | {"mov"} and track.duration is not None and track.time_base is not None:
            seconds = float(track.duration * track.time_base)
            declared = round(seconds * track.rate) if demuxer in EXACT else 0
        if demuxer in EXACT | {"mov", "matroska"}:  # of others FFmpeg makes a guess
            _check_declared(source, data, seconds, track.rate)
        yield Stream(seconds, _frame_blocks(source, container, track, declared))


def unknown_codec(source: Source) -> UnsupportedMedia:
    """Return the error for a container that is read, with sound in it that is not."""
    return UnsupportedMedia(f"{source.label} holds sound of a codec that is not supported")


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
    _check_complete(source, total, declared, ROUNDING * (form[0] if form else 0))


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
        _check_channels(source, channels)
        form = frame.format.name, frame.layout.name, rate
        if form != last:  # as in a chain; a resampler takes frames of one form
            to_float = av.AudioResampler(format="flt")
            last = form
        for part in to_float.resample(frame):
            yield rate, np.asarray(part.to_ndarray(), np.float32).reshape(-1, channels)


def _check_channels(source: Source, channels: int) -> None:
    if channels > MOST_CHANNELS:
        raise source.too_large(f"{channels:,} channels", f"{MOST_CHANNELS}")


def _check_declared(source: Source, data: bytes, seconds: float, rate: int) -> None:
    """Hold the length that the header declares against the bytes there are and `max_seconds`."""
    if seconds * rate > DENSEST * len(data):
        raise source.invalid("is damaged: its header declares more sound than its bytes can hold")
    if seconds > source.limits.max_seconds:
        raise source.too_large(f"{seconds:,.0f} s of sound", f"{source.limits.max_seconds:g}")


def _check_complete(source: Source, count: int, declared: int, slack: float) -> None:
    if count < declared - slack:
        raise source.invalid(f"is cut off: {declared - count:,} samples are missing")

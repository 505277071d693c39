"""The building blocks sounds are synthesised from: noise, envelopes, tones, filters, rooms.

Everything takes and gives float64 samples at `RATE`; randomness comes from a generator that is passed in.
"""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import signal

RATE = 32_000
"""Sample rate of every sound here, in Hz."""

Sound: TypeAlias = npt.NDArray[np.float64]


def silence(seconds: float) -> Sound:
    """That many seconds of zeros."""
    return np.zeros(round(seconds * RATE))


def clock(seconds: float) -> Sound:
    """The time of each sample, in seconds."""
    return np.arange(round(seconds * RATE)) / RATE


def noise(rng: np.random.Generator, seconds: float) -> Sound:
    """White noise of unit variance."""
    return rng.standard_normal(round(seconds * RATE))


def band(sound: Sound, low: float | None = None, high: float | None = None, order: int = 2) -> Sound:
    """The part of a sound between `low` and `high` Hz; None leaves that side open."""
    if low is None and high is None:
        return sound
    if low is None or high is None:
        kind, edge = ("lowpass", high) if low is None else ("highpass", low)
        sections = signal.butter(order, edge, kind, fs=RATE, output="sos")
    else:
        sections = signal.butter(order, (low, high), "bandpass", fs=RATE, output="sos")
    return np.asarray(signal.sosfilt(sections, sound))


def resonate(sound: Sound, *peaks: tuple[float, float, float]) -> Sound:
    """The sum of resonances (Hz, quality, gain): the formants of a throat, the modes of a box."""
    total = np.zeros_like(sound)
    for frequency, quality, gain in peaks:
        b, a = signal.iirpeak(frequency, quality, fs=RATE)
        total += gain * np.asarray(signal.lfilter(b, a, sound))
    return total


def curve(seconds: float, *points: tuple[float, float]) -> Sound:
    """Straight lines through (second, value) points."""
    times, values = zip(*points, strict=True)
    return np.interp(clock(seconds), times, values)


def tone(pitch: Sound, *partials: float) -> Sound:
    """Harmonics of a gliding pitch in Hz, `partials` their loudness from the first on."""
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    total = np.zeros_like(pitch)
    for number, loudness in enumerate(partials, start=1):
        total += loudness * np.sin(number * phase) * (number * pitch < RATE / 2.2)
    return total


def buzz(pitch: Sound) -> Sound:
    """A pulse train with the even fall of a larynx: harmonics of a gliding pitch, 1/n loud."""
    highest = max(1, min(40, int(RATE / 2.5 / max(float(pitch.min()), 1.0))))
    return tone(pitch, *(1.0 / number for number in range(1, highest + 1)))


def struck(seconds: float, *modes: tuple[float, float, float]) -> Sound:
    """Something hit: decaying sines (Hz, seconds to fall by 60 dB, loudness)."""
    t = clock(seconds)
    total = np.zeros_like(t)
    for frequency, fall, loudness in modes:
        total += loudness * np.sin(2 * np.pi * frequency * t) * np.exp(-6.9 * t / fall)
    return total


def decay(seconds: float, fall: float, attack: float = 0.002) -> Sound:
    """A quick rise, then a fall by 60 dB over `fall` seconds."""
    t = clock(seconds)
    return np.asarray(np.minimum(t / attack, 1.0) * np.exp(-6.9 * t / fall))


def place(canvas: Sound, sound: Sound, at: float, gain: float = 1.0) -> None:
    """Add a sound to the canvas at a time in seconds; what passes the end is cut."""
    start = round(at * RATE)
    part = sound[: max(0, len(canvas) - start)]
    canvas[start : start + len(part)] += gain * part


def room(rng: np.random.Generator, sound: Sound, seconds: float, wet: float) -> Sound:
    """The sound in a room whose echo falls by 60 dB in `seconds`."""
    echo = band(noise(rng, seconds), 150.0, 6000.0) * decay(seconds, seconds)
    echo /= np.sqrt((echo**2).sum())
    return sound + wet * np.asarray(signal.fftconvolve(sound, echo))[: len(sound)]


def finished(sound: Sound, peak: float = 0.8) -> Sound:
    """Without offset or clicks at the ends, and with its loudest sample at `peak`."""
    sound = band(sound, low=25.0)
    fade = np.minimum(1.0, np.minimum(np.arange(len(sound)), np.arange(len(sound))[::-1]) / (0.01 * RATE))
    sound = sound * fade
    return np.asarray(sound * peak / np.abs(sound).max())

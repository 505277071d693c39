"""Augmented sound: what the audio student hears, drawn at random from the data folder's clips.

Given 16 kHz waveforms and a random generator, `sound_view` gives back one frame of the teacher's
length. Frames are sped up or slowed down, filtered, reverberated, mixed with other clips, coloured
noise and plain tones; the teacher answers for the result, so no frame needs a label.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from training.compact.teachers import FRAME, FRAME_RATE

Wave = npt.NDArray[np.float32]

QUIET = 0.02
"""A frame this much quieter than the loudest of its clip (in rms) says nothing about the clip."""


SYNTHETIC = 0.12
"""Share of views that are made noise or tones rather than a clip."""


def load_clip(path: Path) -> Wave:
    """A sound file as mono at 16 kHz."""
    wave, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return np.asarray(soxr.resample(wave.mean(axis=1), rate, FRAME_RATE), dtype=np.float32)


def frame_at(wave: Wave, start: int) -> Wave:
    """`FRAME` samples from `start`, zeros after the end."""
    frame = np.zeros(FRAME, dtype=np.float32)
    piece = wave[start : start + FRAME]
    frame[: len(piece)] = piece
    return frame


def clip_frames(wave: Wave, most: int = 24) -> list[Wave]:
    """Half-overlapping frames of a clip without its silent ones, at most `most`, evenly spaced."""
    starts = range(0, max(1, len(wave) - FRAME // 2), FRAME // 2)
    frames = [frame_at(wave, s) for s in starts]
    level = np.array([float(np.sqrt(np.mean(f**2))) for f in frames])
    kept = [f for f, rms in zip(frames, level, strict=True) if rms >= QUIET * level.max()]
    chosen = np.unique(np.linspace(0, len(kept) - 1, min(most, len(kept))).round().astype(int))
    return [kept[k] for k in chosen]


def random_frame(wave: Wave, rng: np.random.Generator) -> Wave:
    """A frame of a clip at a random place and speed (0.7 to 1.4), the loudest of three tries."""
    speed = float(np.exp(rng.uniform(np.log(0.7), np.log(1.4)))) if rng.random() < 0.6 else 1.0
    length = int(FRAME * speed)
    starts = rng.integers(-FRAME // 4, max(1, len(wave) - length // 2), 3)
    tries = [wave[max(0, s) : max(0, s) + length] for s in starts]
    piece = max(tries, key=lambda p: float(np.mean(p**2)) if len(p) else -1.0)
    if speed != 1.0 and len(piece) > 1:
        at = np.arange(0, len(piece) - 1, speed)
        piece = np.interp(at, np.arange(len(piece)), piece).astype(np.float32)
    frame = np.zeros(FRAME, dtype=np.float32)
    late = int(rng.integers(FRAME - len(piece) + 1)) if len(piece) < FRAME else 0
    frame[late : late + len(piece)] = piece[:FRAME]
    return frame


def coloured_noise(rng: np.random.Generator) -> Wave:
    """Noise whose power falls as 1/f^k, k from 0 to 2, in a random band at times; rms 1."""
    spectrum = np.fft.rfft(rng.standard_normal(FRAME))
    f = np.arange(1, len(spectrum) + 1) / len(spectrum)
    spectrum *= f ** (-rng.uniform(0, 1))
    if rng.random() < 0.5:
        low, high = np.sort(np.exp(rng.uniform(np.log(0.005), 0, 2)))
        spectrum *= (f > low) & (f < max(high, low * 1.2))
    noise = np.fft.irfft(spectrum, FRAME)
    return np.asarray(noise / (np.sqrt(np.mean(noise**2)) + 1e-9), dtype=np.float32)


def tone(rng: np.random.Generator) -> Wave:
    """A gliding tone with harmonics and a swelling or pulsing loudness; rms about 1."""
    t = np.arange(FRAME) / FRAME_RATE
    start, end = np.exp(rng.uniform(np.log(60), np.log(4000), 2))
    if rng.random() < 0.5:
        end = start
    vibrato = rng.uniform(0, 0.03) * np.sin(2 * np.pi * rng.uniform(3, 9) * t)
    phase = 2 * np.pi * np.cumsum((start + (end - start) * t / t[-1]) * (1 + vibrato)) / FRAME_RATE
    decay = rng.uniform(0.3, 2.0)
    wave = sum(
        rng.uniform(0.3, 1) * k**-decay * np.sin(k * phase) for k in range(1, int(rng.integers(2, 12)))
    )
    if rng.random() < 0.5:
        rate = rng.uniform(0.5, 12)
        wave = wave * np.exp(-rng.uniform(1, 12) * ((t * rate) % 1) / rate)
    return np.asarray(wave, dtype=np.float32)


def shape_spectrum(frame: Wave, rng: np.random.Generator) -> Wave:
    """A random smooth equaliser (+-12 dB) and, at times, a room's decaying echo."""
    size = 2 * FRAME if rng.random() < 0.35 else FRAME
    spectrum = np.fft.rfft(frame, size)
    knots = rng.uniform(-12, 12, 6) * rng.uniform(0, 1)
    position = np.log(np.linspace(0.002, 1, len(spectrum)))
    gain = np.interp(position, np.linspace(np.log(0.002), 0, 6), knots)
    spectrum = spectrum * 10 ** (gain / 20)
    if size > FRAME:
        decay = rng.uniform(0.05, 0.6)
        t = np.arange(FRAME) / FRAME_RATE
        echo = rng.standard_normal(FRAME) * np.exp(-6.9 * t / decay)
        echo *= rng.uniform(0.1, 1.0) / np.sqrt(np.sum(echo**2))
        echo[0] = 1.0
        spectrum = spectrum * np.fft.rfft(echo, size)
    return np.asarray(np.fft.irfft(spectrum, size)[:FRAME], dtype=np.float32)


def scaled(wave: Wave, level: float) -> Wave:
    """The wave at the given rms."""
    rms = float(np.sqrt(np.mean(wave**2)))
    return wave * np.float32(level / (rms + 1e-6))


def sound_view(clips: Sequence[Wave], index: int, rng: np.random.Generator) -> Wave:
    """One frame: float32 [15600], within -1..1."""
    kind = rng.random()
    if kind < 0.05:
        frame = coloured_noise(rng)
    elif kind < SYNTHETIC:
        frame = tone(rng)
    else:
        frame = random_frame(clips[index], rng)
    if rng.random() < 0.6:
        frame = shape_spectrum(frame, rng)
    frame = scaled(frame, float(np.exp(rng.uniform(np.log(0.01), np.log(0.25)))))
    level = float(np.sqrt(np.mean(frame**2)))
    if rng.random() < 0.4:
        other = random_frame(clips[int(rng.integers(len(clips)))], rng)
        frame = frame + scaled(other, level * float(10 ** rng.uniform(-1.0, 0.2)))
    if rng.random() < 0.3:
        frame = frame + scaled(coloured_noise(rng), level * float(10 ** rng.uniform(-2.0, -0.3)))
    if rng.random() < 0.05:
        frame = frame[::-1]
    return np.ascontiguousarray(np.clip(frame, -1.0, 1.0), dtype=np.float32)

"""The gallery's sounds of weather, engines and the household, each a function of a random generator."""

import numpy as np

from gallery_maker.synthesis import (
    RATE,
    Sound,
    band,
    clock,
    curve,
    decay,
    noise,
    place,
    resonate,
    room,
    silence,
    struck,
    tone,
)


def rain(rng: np.random.Generator) -> Sound:
    """Steady rain: a bright hiss made of thousands of drops, some of them near."""
    seconds = 4.5
    canvas = 0.35 * band(noise(rng, seconds), 900.0, 9000.0) + 0.12 * band(noise(rng, seconds), 150.0, 900.0)
    for _ in range(1500):
        drop = struck(0.02, (float(rng.uniform(1200, 7500)), 0.015, 1.0))
        place(canvas, drop, float(rng.uniform(0, seconds)), float(rng.exponential(0.35)))
    return canvas


def thunder(rng: np.random.Generator) -> Sound:
    """A crack overhead, then rumbles that roll away, in light rain."""
    seconds = 5.5
    canvas = silence(seconds)
    place(canvas, band(noise(rng, 0.5), 120.0, 5000.0) * decay(0.5, 0.45, 0.004), 0.35, 2.2)
    for at, fall, gain in (
        (0.36, 2.2, 1.0),
        (0.8, 1.6, 0.6),
        (1.4, 2.6, 0.8),
        (2.3, 2.2, 0.55),
        (3.2, 2.0, 0.4),
    ):
        rumble = band(noise(rng, 3.0), 30.0, 160.0, 3) + 0.25 * band(noise(rng, 3.0), 160.0, 500.0)
        lumps = 0.6 + 0.4 * band(noise(rng, 3.0), high=7.0) / 0.02
        place(canvas, rumble * np.clip(lumps, 0, 2) * decay(3.0, fall, 0.08), at, 6 * gain)
    return room(rng, canvas, 2.5, 0.5) + 0.035 * band(noise(rng, seconds), 1000.0, 8000.0)


def waves(rng: np.random.Generator) -> Sound:
    """The sea: swells that build, break in a bright rush and draw back over the sand."""
    seconds = 6.0
    canvas = 0.12 * band(noise(rng, seconds), 60.0, 600.0)
    for peak, gain in ((1.2, 0.8), (4.2, 1.0)):
        t = clock(seconds) - peak
        swell = np.where(t < 0, np.exp(t * 2.2), np.exp(-t * 1.1))
        rush = np.where(t < 0, np.exp(t * 4), np.exp(-t * 0.9))
        canvas += gain * swell * band(noise(rng, seconds), 80.0, 1400.0)
        canvas += 0.5 * gain * rush * band(noise(rng, seconds), 1200.0, 7000.0)
    return np.asarray(canvas)


def fire(rng: np.random.Generator) -> Sound:
    """A wood fire: a soft roar, crackles in bursts, and now and then a snap."""
    seconds = 5.0
    canvas = (
        0.16 * band(noise(rng, seconds), 60.0, 700.0) * (1 + 0.5 * np.sin(2 * np.pi * 0.7 * clock(seconds)))
    )
    at = 0.0
    while at < seconds:
        length = float(rng.uniform(0.002, 0.012))
        crackle = band(noise(rng, 0.02), float(rng.uniform(900, 3500)), 10_000.0) * decay(
            0.02, length, 0.0003
        )
        place(canvas, crackle, at, float(rng.exponential(0.5)))
        at += float(rng.exponential(0.016 if rng.random() < 0.75 else 0.12))
    for at in rng.uniform(0.3, seconds - 0.3, 9):
        place(
            canvas,
            resonate(noise(rng, 0.05) * decay(0.05, 0.03, 0.0005), (1500, 3, 1), (3800, 3, 1)),
            float(at),
            3.5,
        )
    return np.asarray(canvas)


def engine(rng: np.random.Generator) -> Sound:
    """A car that idles, is revved twice and settles: four uneven explosions a cycle, through a pipe."""
    seconds = 5.0
    rate = curve(seconds, (0, 26), (1.0, 27), (1.7, 75), (2.2, 40), (2.9, 95), (3.6, 45), (4.3, 28), (5, 26))
    rate = rate * (1 + 0.02 * band(noise(rng, seconds), high=20.0) / 0.03)
    phase = np.cumsum(rate) / RATE
    beat = np.exp(-7 * (phase % 1.0)) * (0.8 + 0.2 * np.cos(np.pi * np.floor(phase)))
    body = resonate(
        band(beat - beat.mean(), 25.0), (90, 1.5, 1.0), (190, 2, 0.8), (420, 2.5, 0.5), (900, 3, 0.3)
    )
    hiss = 0.05 * band(noise(rng, seconds), 300.0, 4000.0) * beat * (rate / 30)
    return np.asarray(np.tanh(4 * body * (rate / 40) ** 0.3) + hiss)


def helicopter(rng: np.random.Generator) -> Sound:
    """Rotor blades slapping the air thirteen times a second over a turbine's whine."""
    seconds = 4.5
    phase = (clock(seconds) * 13.0) % 1.0
    slap = np.exp(-9 * phase)
    thump = (
        band(noise(rng, seconds), 40.0, 500.0, 2) * slap * 2.2
        + tone(np.full(len(phase), 52.0), 0.4, 0.3, 0.2) * slap
    )
    turbine = 0.05 * tone(np.full(len(phase), 1650.0), 1, 0.4) + 0.12 * band(
        noise(rng, seconds), 700.0, 5000.0
    )
    return np.asarray(
        (thump + turbine * (0.5 + 0.5 * slap)) * curve(seconds, (0, 0.5), (2.5, 1), (seconds, 0.8))
    )


def train(rng: np.random.Generator) -> Sound:
    """A steam train: chuffs in fours, the clatter of rails, and a whistle of three notes."""
    seconds = 5.5
    canvas = 0.05 * band(noise(rng, seconds), 50.0, 400.0)
    at, number = 0.1, 0
    while at < seconds:
        chuff = band(noise(rng, 0.16), 250.0, 3500.0) * decay(0.16, 0.14, 0.012)
        place(canvas, chuff, at, 0.9 if number % 4 == 0 else 0.55)
        if number % 4 in (0, 1):
            place(canvas, struck(0.08, (310, 0.06, 0.5), (830, 0.05, 0.4), (2100, 0.03, 0.2)), at + 0.05)
        at += 0.19
        number += 1
    for at, length in ((0.9, 0.5), (1.6, 1.5)):
        shape = curve(length, (0, 0), (0.08, 1), (length - 0.15, 0.9), (length, 0))
        bend = curve(length, (0, 0.94), (0.12, 1.0), (length - 0.1, 1.0), (length, 0.93))
        whistle = sum((tone(bend * f, 1.0, 0.3, 0.12) for f in (622.0, 740.0, 932.0)), silence(length))
        place(canvas, (whistle + 0.4 * band(noise(rng, length), 600.0, 4000.0)) * shape, at, 0.35)
    return room(rng, canvas, 1.0, 0.3)


def ticking(rng: np.random.Generator) -> Sound:
    """A clock: tick and tock, twice a second, each a tiny wooden click with a spring behind it."""
    canvas = 0.0008 * noise(rng, 4.0)
    for step in range(8):
        f = 2500.0 if step % 2 == 0 else 1900.0
        click = struck(0.09, (f, 0.035, 1.0), (f * 1.9, 0.02, 0.8), (f * 3.1, 0.015, 0.5), (430, 0.05, 0.4))
        place(canvas, click, 0.12 + 0.5 * step)
        place(canvas, noise(rng, 0.003) * decay(0.003, 0.003, 0.0002), 0.12 + 0.5 * step, 0.6)
        place(canvas, click, 0.165 + 0.5 * step, 0.18)
    return room(rng, canvas, 0.25, 0.15)


def typing(rng: np.random.Generator) -> Sound:
    """Typing: a key's plastic click going down and a softer one coming up, in quick uneven runs."""
    canvas = 0.0015 * noise(rng, 4.0)
    at = 0.15
    while at < 3.8:
        low = float(rng.uniform(180, 320))
        down = resonate(
            noise(rng, 0.03) * decay(0.03, 0.012, 0.0004),
            (low * 9, 2, 1.0),
            (low * 16, 2, 0.7),
            (low, 3, 0.8),
        )
        place(canvas, down, at, float(rng.uniform(0.6, 1)))
        place(canvas, down, at + float(rng.uniform(0.06, 0.1)), 0.3)
        at += float(rng.uniform(0.09, 0.19)) if rng.random() < 0.88 else 0.42
    return room(rng, canvas, 0.2, 0.2)


def knocking(rng: np.random.Generator) -> Sound:
    """Knuckles on a wooden door: three knocks, a pause, three more."""
    canvas = 0.0008 * noise(rng, 3.6)
    for at in (0.25, 0.52, 0.79, 2.1, 2.36, 2.62):
        modes = ((145, 0.14, 1.0), (235, 0.1, 0.8), (410, 0.07, 0.5), (760, 0.04, 0.3), (1500, 0.02, 0.15))
        place(canvas, struck(0.2, *modes), at, float(rng.uniform(0.8, 1)))
        place(canvas, band(noise(rng, 0.02), 300.0, 3000.0) * decay(0.02, 0.012, 0.0005), at, 0.6)
    return room(rng, canvas, 0.5, 0.3)


def glass(rng: np.random.Generator) -> Sound:
    """A bottle that breaks: the blow, then shards that ring and scatter over the floor."""
    canvas = silence(3.0)
    place(canvas, band(noise(rng, 0.12), 1800.0) * decay(0.12, 0.1, 0.0005), 0.25, 1.6)
    for at in np.concatenate([0.25 + rng.exponential(0.05, 40), 0.35 + rng.exponential(0.35, 70)]):
        f = float(rng.uniform(2200, 9500))
        modes = ((f, float(rng.uniform(0.05, 0.4)), 1.0), (min(f * 1.47, 14_000), 0.1, 0.5))
        place(canvas, struck(0.4, *modes), float(at), float(rng.exponential(0.25)))
    return room(rng, canvas, 0.5, 0.2)

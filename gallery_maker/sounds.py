"""The gallery's sounds of living things, alarms and metal, each a function of a random generator.

`SOUNDS` in `gallery_maker.make` names them; the weather and the household are in `ambience`.
"""

import numpy as np

from gallery_maker.synthesis import (
    RATE,
    Sound,
    band,
    buzz,
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


def dog(rng: np.random.Generator) -> Sound:
    """Two pairs of barks: a rough falling voice through an open throat, with a burst of breath."""
    canvas = silence(4.0)
    for at, pitch in ((0.2, 520), (0.62, 500), (1.9, 540), (2.3, 510), (2.75, 490)):
        seconds = 0.24
        glide = curve(seconds, (0, pitch * 0.75), (0.03, pitch * 1.25), (0.12, pitch), (seconds, pitch * 0.5))
        glide *= 1 + 0.05 * band(noise(rng, seconds), high=180.0)
        voice = buzz(glide) + 0.5 * band(noise(rng, seconds), 400.0, 5000.0)
        bark = resonate(voice, (620, 3, 1.0), (1250, 4, 0.9), (2300, 5, 0.45), (3600, 5, 0.2))
        bark *= curve(seconds, (0, 0), (0.012, 1), (0.09, 0.8), (0.17, 0.25), (seconds, 0))
        place(canvas, np.tanh(2.5 * bark), at)
    return room(rng, canvas, 0.5, 0.25)


def cat(rng: np.random.Generator) -> Sound:
    """Two meows: the pitch rises and falls while the mouth opens from "m-ee" to "ow"."""
    canvas = silence(3.6)
    for at, seconds, pitch in ((0.2, 0.95, 620.0), (1.9, 1.2, 560.0)):
        glide = curve(
            seconds,
            (0, pitch * 0.8),
            (0.25 * seconds, pitch * 1.25),
            (0.6 * seconds, pitch * 1.1),
            (seconds, pitch * 0.7),
        )
        glide *= 1 + 0.012 * np.sin(2 * np.pi * 6.5 * clock(seconds))
        voice = buzz(glide) + 0.04 * noise(rng, seconds)
        closed = resonate(voice, (500, 3, 0.6), (2600, 6, 0.8), (3300, 6, 0.4))
        opened = resonate(voice, (1000, 3, 1.0), (1500, 4, 0.9), (3000, 6, 0.35))
        mouth = curve(seconds, (0, 0), (0.3 * seconds, 0.3), (0.6 * seconds, 1), (seconds, 0.6))
        meow = (1 - mouth) * closed + mouth * opened
        place(
            canvas,
            meow
            * curve(seconds, (0, 0), (0.08, 0.7), (0.5 * seconds, 1), (0.85 * seconds, 0.5), (seconds, 0)),
            at,
        )
    return room(rng, canvas, 0.4, 0.2)


def cow(rng: np.random.Generator) -> Sound:
    """A long moo: a low rough voice that opens and closes."""
    seconds = 3.0
    canvas = silence(3.8)
    glide = curve(seconds, (0, 120), (0.5, 150), (1.5, 175), (2.4, 150), (seconds, 110))
    glide *= 1 + 0.02 * band(noise(rng, seconds), high=40.0)
    voice = buzz(glide) + 0.05 * noise(rng, seconds)
    closed = resonate(voice, (250, 4, 1.0), (700, 5, 0.25))
    opened = resonate(voice, (420, 3, 1.0), (820, 4, 0.7), (2300, 5, 0.2))
    mouth = curve(seconds, (0, 0), (0.7, 0.2), (1.4, 1), (2.3, 0.8), (seconds, 0.1))
    moo = ((1 - mouth) * closed + mouth * opened) * curve(
        seconds, (0, 0), (0.3, 0.7), (1.5, 1), (2.5, 0.7), (seconds, 0)
    )
    place(canvas, moo, 0.3)
    return room(rng, canvas, 0.8, 0.3)


def bird(rng: np.random.Generator) -> Sound:
    """A songbird: chirps that sweep down, trills, and whistled notes."""
    canvas = silence(4.5)
    at = 0.15
    while at < 4.1:
        kind = rng.integers(3)
        base = rng.uniform(3000, 4600)
        if kind == 0:
            for step in range(int(rng.integers(3, 6))):
                glide = curve(0.07, (0, base * 1.35), (0.07, base * 0.8))
                place(canvas, tone(glide, 1.0, 0.12) * np.hanning(len(glide)), at + 0.095 * step)
            at += 0.6
        elif kind == 1:
            seconds = 0.4
            glide = base + 450 * np.sign(np.sin(2 * np.pi * 26 * clock(seconds)))
            place(canvas, tone(glide, 0.8, 0.1) * np.hanning(len(glide)), at)
            at += 0.55
        else:
            seconds = 0.26
            glide = curve(seconds, (0, base * 0.8), (0.13, base * 1.15), (seconds, base))
            place(canvas, tone(glide, 0.9, 0.15) * np.hanning(len(glide)), at)
            at += 0.4
    leaves = 0.012 * band(noise(rng, 4.5), 500.0, 5000.0)
    return room(rng, canvas, 0.9, 0.3) + leaves


def rooster(rng: np.random.Generator) -> Sound:
    """Cock-a-doodle-doo: three short calls and a long one that climbs and sinks."""
    canvas = silence(3.6)
    for at, seconds, points in (
        (0.2, 0.22, ((0, 420), (0.1, 620), (0.22, 560))),
        (0.5, 0.16, ((0, 600), (0.08, 700), (0.16, 640))),
        (0.72, 0.3, ((0, 640), (0.15, 860), (0.3, 800))),
        (1.1, 1.7, ((0, 620), (0.25, 920), (0.9, 880), (1.7, 430))),
    ):
        glide = curve(seconds, *points) * (1 + 0.03 * band(noise(rng, seconds), high=120.0))
        voice = buzz(glide) + 0.15 * band(noise(rng, seconds), 1000.0, 6000.0)
        call = resonate(voice, (950, 3, 1.0), (1900, 4, 1.0), (3100, 5, 0.7), (4500, 5, 0.3))
        place(canvas, np.tanh(1.8 * call) * np.hanning(len(call)) ** 0.35, at)
    return room(rng, canvas, 0.7, 0.3)


def frog(rng: np.random.Generator) -> Sound:
    """Croaks: a throat clicking thirty-odd times a second, over a pond's crickets."""
    canvas = silence(4.0)
    for at in (0.2, 0.85, 1.7, 2.35, 3.2):
        seconds = 0.42
        croak = silence(seconds)
        gap = 0.0
        while gap < seconds - 0.03:
            pulse = resonate(
                noise(rng, 0.03) * decay(0.03, 0.02), (480, 6, 1.0), (1150, 8, 0.8), (2100, 8, 0.3)
            )
            place(croak, pulse, gap, 0.4 + gap / seconds)
            gap += 0.026 - 0.012 * gap / seconds
        place(canvas, croak, at)
    crickets = tone(np.full(len(canvas), 4300.0), 0.02) * (np.sin(2 * np.pi * 21 * clock(4.0)) > 0)
    return np.asarray(room(rng, canvas, 0.5, 0.25) + crickets * np.abs(canvas).max())


def siren(rng: np.random.Generator) -> Sound:
    """An ambulance's wail, rising and falling, with its harmonics and the street around it."""
    seconds = 5.0
    sweep = 0.5 - 0.5 * np.cos(2 * np.pi * 0.55 * clock(seconds))
    wail = tone(600 * (1500 / 600) ** sweep, 1.0, 0.5, 0.35, 0.2, 0.12, 0.06)
    street = 0.06 * band(noise(rng, seconds), 60.0, 900.0)
    return room(rng, np.tanh(1.5 * wail), 0.8, 0.3) + street


def bell(rng: np.random.Generator) -> Sound:
    """A church bell struck twice: hum, prime, tierce, quint and nominal, each pair slightly apart."""
    canvas = silence(5.5)
    f = 262.0
    modes = []
    for ratio, fall, loudness in (
        (0.5, 7, 0.6),
        (1, 5, 0.8),
        (1.19, 4, 0.7),
        (1.5, 2.6, 0.35),
        (2, 3, 0.9),
        (2.5, 1.4, 0.35),
        (2.67, 1.3, 0.3),
        (3, 1.1, 0.35),
        (4.1, 0.8, 0.3),
        (5.4, 0.5, 0.2),
        (6.8, 0.35, 0.15),
    ):
        modes += [(f * ratio, fall, loudness), (f * ratio * 1.0025, fall, loudness * 0.7)]
    for at in (0.15, 2.7):
        place(canvas, struck(5.3, *modes), at)
        place(canvas, band(noise(rng, 0.06), 1500.0, 7000.0) * decay(0.06, 0.04), at, 0.5)
    return room(rng, canvas, 1.8, 0.3)


def sword(rng: np.random.Generator) -> Sound:
    """Blades that clash: inharmonic ringing of steel, and one blade sliding along the other."""
    canvas = silence(3.2)
    for at in (0.2, 0.75, 1.25, 2.0):
        modes = [
            (float(f), float(rng.uniform(0.3, 1.1)), float(rng.uniform(0.2, 1)))
            for f in rng.uniform(1900, 9500, 14)
        ]
        place(canvas, struck(1.2, *modes), at)
        place(canvas, band(noise(rng, 0.05), 2500.0) * decay(0.05, 0.03), at, 3.0)
    slide = band(noise(rng, 0.35), 4000.0, 9000.0) * np.hanning(round(0.35 * RATE))
    place(canvas, slide, 1.35, 1.5)
    return room(rng, canvas, 0.6, 0.25)


def phone(rng: np.random.Generator) -> Sound:
    """An old telephone: a clapper between two gongs twenty-odd times a second, twice."""
    canvas = silence(4.6)
    for start in (0.2, 2.6):
        for step in range(46):
            f = 1180.0 if step % 2 else 1420.0
            modes = ((f, 0.35, 1.0), (f * 2.73, 0.2, 0.6), (f * 4.9, 0.12, 0.35))
            place(canvas, struck(0.4, *modes), start + step * 0.036, float(rng.uniform(0.8, 1)))
            place(canvas, noise(rng, 0.004) * decay(0.004, 0.004), start + step * 0.036, 0.5)
    return room(rng, canvas, 0.4, 0.2)

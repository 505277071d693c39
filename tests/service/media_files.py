"""Small real files of every kind, made on the spot."""

import io

import numpy as np
import soundfile
from PIL import Image


def png(colour: str = "red", size: int = 32) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (size, size), colour).save(buffer, "PNG")
    return buffer.getvalue()


def jpeg(seed: int = 0, size: int = 64) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (size, size, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


def wav(hertz: float = 440.0, seconds: float = 0.5, kind: str = "WAV") -> bytes:
    time = np.arange(int(16_000 * seconds)) / 16_000
    buffer = io.BytesIO()
    soundfile.write(buffer, np.sin(2 * np.pi * hertz * time), 16_000, format=kind)
    return buffer.getvalue()


def cloud(seed: int = 0, points: int = 100) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.random.default_rng(seed).normal(size=(points, 3)).astype(np.float32))
    return buffer.getvalue()


def ply(seed: int = 0, points: int = 100) -> bytes:
    rows = np.random.default_rng(seed).normal(size=(points, 3))
    axes = "".join(f"property float {axis}\n" for axis in "xyz")
    head = f"ply\nformat ascii 1.0\nelement vertex {points}\n{axes}end_header\n"
    return (head + "\n".join(" ".join(map(str, row)) for row in rows) + "\n").encode()

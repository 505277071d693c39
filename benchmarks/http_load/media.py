"""What the load consists of: media files, and whole HTTP requests made of them before the clock runs."""

import base64
import io
import json
import struct
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from PIL import Image

KINDS = ("text", "image", "audio", "point_cloud")
PICTURES = 512
"""Different pictures there are; what else is an image is one of them as another file."""
SUFFIXES = {"text": "txt", "image": "jpg", "audio": "wav", "point_cloud": "npy"}
Body = Callable[[str, Sequence[bytes]], tuple[str, Any]]
"""A kind and the contents of one request -> the path it goes to, and its JSON body."""


def content(kind: str, seed: int, *, small: bool = False) -> bytes:
    """A file's bytes, others for every seed: a 16-token text, a 640 x 480 JPEG, 5 s of WAV, 8,192 points.

    `small` files are a 16th of that, but for the text. Pictures repeat, as files that differ.
    """
    if kind == "text":
        return f"picture {seed:04d} of a dog that barks at the postman".encode()
    if kind == "image":
        comment = str(seed).encode()
        jpeg = _picture(seed % PICTURES, small)
        return b"".join((jpeg[:2], b"\xff\xfe", struct.pack(">H", 2 + len(comment)), comment, jpeg[2:]))
    random, buffer = np.random.default_rng(seed), io.BytesIO()
    if kind == "audio":
        samples = random.normal(0, 0.1, 5 * 48_000 // (16 if small else 1))
        soundfile.write(buffer, samples, 48_000, format="WAV")
    else:
        np.save(buffer, random.normal(size=(512 if small else 8192, 3)).astype(np.float32))
    return buffer.getvalue()


@cache
def _picture(seed: int, small: bool) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (15, 20, 3), dtype=np.uint8)
    size = (160, 120) if small else (640, 480)
    Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC).save(buffer, "JPEG")
    return buffer.getvalue()


def write_files(directory: Path, kind: str, count: int) -> list[Path]:
    """As many files of a kind, in a directory."""
    paths = [directory / f"{kind}-{seed}.{SUFFIXES[kind]}" for seed in range(count)]
    for seed, path in enumerate(paths):
        path.write_bytes(content(kind, seed))
    return paths


def embed_body(kind: str, contents: Sequence[bytes]) -> tuple[str, Any]:
    """A request to Isthmus, and to the plain endpoints that speak as it does."""
    return "/embed", {
        "items": [{kind: _written(kind, each)} for each in contents],
        "store": False,
        "return_vectors": True,
    }


def infinity_body(kind: str, contents: Sequence[bytes]) -> tuple[str, Any]:
    """A request to infinity's OpenAI-like interface."""
    uri = "" if kind == "text" else "data:image/jpeg;base64,"
    inputs = [uri + _written(kind, each) for each in contents]
    return "/embeddings", {"model": "clip", "modality": kind, "input": inputs}


def http_requests(kind: str, contents: Sequence[bytes], per_request: int, body: Body) -> list[bytes]:
    """The contents as HTTP requests of so many items each."""
    made = []
    for start in range(0, len(contents) - per_request + 1, per_request):
        path, content = body(kind, contents[start : start + per_request])
        made.append(http_request(path, content))
    return made


def http_request(path: str, content: Any) -> bytes:
    """One POST with a JSON body, head and all."""
    body = json.dumps(content).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


def _written(kind: str, content: bytes) -> str:
    return content.decode() if kind == "text" else base64.b64encode(content).decode()

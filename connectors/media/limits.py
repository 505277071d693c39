"""Limits of what one item of media may ask of this process.

Holds `Limits`, which every decoder is given and obeys: sizes are checked against what a file's
header declares before anything is decoded, and again while decoding, because headers lie.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on one item; passing an upper one raises `MediaTooLarge`, a lower one `InvalidMedia`.

    The defaults keep the memory of one decode below about 1 GB.
    """

    max_bytes: int = 100 * 1024 * 1024
    """Size of the file, in bytes."""

    max_pixels: int = 64_000_000
    """Width times height of an image as stored. Above 178 million Pillow refuses by itself."""

    max_aspect_ratio: float = 100.0
    """Longer over shorter side of an image: resizing a 1-pixel line to 224 rows would explode."""

    max_seconds: float = 600.0
    """Length of a sound, in seconds."""

    min_seconds: float = 0.05
    """Length of a sound, in seconds: a spectrum needs a few analysis windows."""

    max_points: int = 5_000_000
    """Points of a cloud, and vertices of a mesh."""

    min_points: int = 32
    """Points of a cloud: fewer have no shape."""

    max_faces: int = 5_000_000
    """Triangles of a mesh, after polygons are split and repeated parts are counted."""

    max_mesh_text: int = 16 * 1024 * 1024
    """Bytes of a mesh as text (off, obj, ascii stl and ply), read a row at a time: some 4 s and 0.5 GB."""

    max_characters: int = 20_000
    """Unicode characters of a text, after stripping."""


DEFAULT_LIMITS = Limits()

"""Point clouds from bytes: scans, arrays and meshes in, float32 [N, 3] out.

Picks the reader for the format, and hands what it read to `geometry.cloud`, which checks it and
turns meshes into points.
"""

import re
from collections.abc import Callable

import numpy as np

from connectors.media.arrays import read_npy, read_npz
from connectors.media.geometry import Geometry, cloud
from connectors.media.glb import read_glb
from connectors.media.las import read_las
from connectors.media.mesh import read_obj, read_off, read_stl
from connectors.media.pcd import read_pcd
from connectors.media.ply import read_ply
from connectors.media.sniff import expect, sniff
from connectors.media.source import Source
from connectors.media.table import read_xyz
from connectors.modality import Points

READERS: dict[str, Callable[[Source], Geometry]] = {
    "application/x-npy": read_npy,
    "application/x-npz": read_npz,
    "application/vnd.las": read_las,
    "model/gltf-binary": read_glb,
    "model/obj": read_obj,
    "model/off": read_off,
    "model/ply": read_ply,
    "model/stl": read_stl,
    "model/x-pcd": read_pcd,
    "text/x-xyz": read_xyz,
}


def decode(source: Source) -> Points:
    """Return float32 [N, 3] xyz in the file's own units and axes.

    Meshes become `geometry.SURFACE_POINTS` points of their surface, always the same ones. Raises
    `InvalidMedia` for damage, NaN, too few points or all in one place; `MediaTooLarge` past
    `max_points` or `max_faces`, before room is made for them.
    """
    mime = _format(source)
    # Damaged floats overflow or turn into NaN, which `cloud` reports.
    with source.reading(mime), np.errstate(all="ignore"):
        return cloud(source, READERS[mime](source))


READ_IN_ONE_GO = frozenset({"application/x-npy", "application/x-npz", "application/vnd.las"})
"""Formats that numpy or native code reads. Python goes through the rows or parts of others, or may do so."""


def is_read_in_python(data: bytes, name: str | None = None) -> bool:
    """Whether reading a file of points may keep the interpreter for long, as by the row of a text."""
    return sniff(data, name).mime not in READ_IN_ONE_GO


def _format(source: Source) -> str:
    """The MIME type; what looks like plain text is obj or rows of numbers, told by its lines."""
    if sniff(source.data, source.name).modality != "text":
        return expect(source, "point_cloud")
    is_obj = re.search(rb"^v[ \t]+[-+.\d]", source.data[: 1 << 16], re.MULTILINE)
    return "model/obj" if is_obj else "text/x-xyz"

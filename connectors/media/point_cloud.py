"""Point clouds from bytes: scans, arrays and meshes in, float32 [N, 3] out.

Picks the reader for the format, and hands what it read to `geometry.cloud`, which checks it and
turns meshes into points.
"""

import re
from collections.abc import Callable

import numpy as np

from connectors.errors import MediaError
from connectors.media.arrays import read_npy, read_npz
from connectors.media.dae import read_dae
from connectors.media.geometry import Geometry, cloud
from connectors.media.glb import read_glb, read_gltf, read_gltf_zip
from connectors.media.las import read_las
from connectors.media.mesh import read_obj, read_off, read_stl
from connectors.media.pcd import read_pcd
from connectors.media.ply import read_ply
from connectors.media.sniff import expect, sniff
from connectors.media.source import Source
from connectors.media.table import read_xyz
from connectors.media.threemf import read_3mf
from connectors.modality import Points

READERS: dict[str, tuple[str, Callable[[Source], Geometry]]] = {
    "application/x-npy": ("an npy array", read_npy),
    "application/x-npz": ("an npz file", read_npz),
    "application/vnd.las": ("a las or laz scan", read_las),
    "model/3mf": ("a 3mf file", read_3mf),
    "model/gltf+json": ("a gltf scene", read_gltf),
    "model/gltf+zip": ("a zip of a gltf scene", read_gltf_zip),
    "model/gltf-binary": ("a glb scene", read_glb),
    "model/obj": ("an obj mesh", read_obj),
    "model/off": ("an off mesh", read_off),
    "model/ply": ("a ply file", read_ply),
    "model/stl": ("an stl mesh", read_stl),
    "model/vnd.collada+xml": ("a dae scene", read_dae),
    "model/x-pcd": ("a pcd cloud", read_pcd),
    "text/x-xyz": ("rows of numbers", read_xyz),
}
"""Each format's name in messages, and its reader."""


def decode(source: Source) -> Points:
    """Return float32 [N, 3] xyz in the file's own units and axes.

    Meshes become `geometry.SURFACE_POINTS` points of their surface, always the same ones. Raises
    `InvalidMedia` for damage, NaN, too few points or all in one place; `MediaTooLarge` past
    `max_points` or `max_faces`, before room is made for them.
    """
    form, read = READERS[_format(source)]
    try:
        # Damaged floats overflow or turn into NaN, which `cloud` reports.
        with np.errstate(all="ignore"):
            return cloud(source, read(source))
    except (MediaError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:  # what Rust panics with derives from nothing else
        # The readers tell what people do wrong; what a library says of the rest is no help to them.
        raise source.invalid(f"is damaged: it cannot be read as {form}") from error


READ_IN_ONE_GO = frozenset({"application/x-npy", "application/x-npz", "application/vnd.las"})
"""Formats that numpy or native code reads. Python goes through the rows or parts of others, or may do so."""


def is_read_in_python(data: bytes, name: str | None = None) -> bool:
    """Return whether reading a file of points may keep the interpreter for long, as by the row of a text."""
    return sniff(data, name, modality="point_cloud").mime not in READ_IN_ONE_GO


def _format(source: Source) -> str:
    """The MIME type; what looks like plain text is obj or rows of numbers, told by its lines."""
    if sniff(source.data, source.name, modality="point_cloud").modality != "text":
        return expect(source, "point_cloud")
    is_obj = re.search(rb"(?:^|[\r\n])v[ \t]+[-+.\d]", source.data[: 1 << 16])
    return "model/obj" if is_obj else "text/x-xyz"

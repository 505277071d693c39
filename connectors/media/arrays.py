"""Clouds stored as NumPy arrays: npy, and npz with one array chosen by name or shape.

Given a `Source`, back comes a `Geometry`. Array headers and the zip directory are read and judged
first, so that neither a boastful shape nor a zip bomb allocates anything, and pickle is never used.
"""

import zipfile
from io import BytesIO
from math import prod
from typing import IO

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy_format

from connectors.media.geometry import Geometry
from connectors.media.source import Source

POINT_KEYS = ("points", "xyz", "pc", "cloud", "vertices", "arr_0")
"""Names an npz's cloud goes by, in order of preference."""

WIDEST = 64
"""Columns a row may have: xyz, then normals, colours or labels, which are left out."""


def read_npy(source: Source) -> Geometry:
    """A cloud from an array [N, 3 or more] of numbers; the first three columns are x, y and z."""
    return _read_array(source, BytesIO(source.data), len(source.data))


def read_npz(source: Source) -> Geometry:
    """A cloud from the member that `POINT_KEYS` names first, else from the only one."""
    with zipfile.ZipFile(BytesIO(source.data)) as archive:
        members = {
            entry.filename.removesuffix(".npy"): entry
            for entry in archive.infolist()
            if entry.filename.endswith(".npy")
        }
        named = [key for key in POINT_KEYS if key in members]
        if not named and len(members) != 1:
            raise source.invalid(f"has {len(members)} arrays and none is called {', '.join(POINT_KEYS)}")
        entry = members[named[0]] if named else next(iter(members.values()))
        with archive.open(entry) as member:
            return _read_array(source, member, entry.file_size)


def _read_array(source: Source, file: IO[bytes], size: int) -> Geometry:
    """Read one array, `size` bytes with its header, from a stream that need not seek."""
    version = npy_format.read_magic(file)  # type: ignore[no-untyped-call]
    if version == (1, 0):
        shape, fortran, dtype = npy_format.read_array_header_1_0(file)  # type: ignore[no-untyped-call]
    elif version == (2, 0):
        shape, fortran, dtype = npy_format.read_array_header_2_0(file)  # type: ignore[no-untyped-call]
    else:
        raise source.invalid(f"is npy version {version[0]}.{version[1]}; 1.0 and 2.0 are read")
    if dtype.kind not in "fiu":
        raise source.invalid(f"holds {dtype} values; a point cloud needs numbers")
    if len(shape) != 2 or not 3 <= shape[1] <= WIDEST:
        raise source.invalid(f"holds an array of shape {list(shape)}; [N, 3] is needed")
    source.check_points(shape[0])
    needed = prod(shape) * dtype.itemsize
    if needed > size:
        raise source.invalid(f"is cut off: {needed:,} bytes declared, at most {size:,} there")
    body = file.read(needed)
    if len(body) < needed:
        raise source.invalid(f"is cut off: {needed - len(body):,} bytes are missing")
    array: npt.NDArray[np.float64] = np.frombuffer(body, dtype).reshape(shape, order="F" if fortran else "C")
    return Geometry(array[:, :3].astype(np.float64))

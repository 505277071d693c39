"""Laser scans: las, and laz which is las compressed.

Given a `Source`, back comes a `Geometry` in the scan's own coordinates (scale and offset applied).
"""

import struct
from io import BytesIO

import laspy
import numpy as np

from connectors.media.geometry import Geometry
from connectors.media.source import Source

CHUNK = 1_000_000
"""Points decompressed at a time."""

RECORD_HEADER = 54
"""Bytes of a variable length record without its contents."""


def read_las(source: Source) -> Geometry:
    """A cloud from a las or laz file. Counts are checked before anything is read by them."""
    _check_records(source)
    with laspy.open(BytesIO(source.data), laz_backend=laspy.LazBackend.Lazrs, read_evlrs=False) as scan:
        header = scan.header
        source.check_points(header.point_count)
        if header.are_points_compressed:
            _check_chunks(source, header.offset_to_point_data)
        else:
            end = header.offset_to_point_data + header.point_count * header.point_format.size
            if end > len(source.data):
                raise source.invalid(f"is cut off: {end - len(source.data):,} bytes are missing")
        parts = [np.stack((p.x, p.y, p.z), axis=1) for p in scan.chunk_iterator(CHUNK)]
    vertices = np.concatenate(parts) if parts else np.zeros((0, 3))
    if len(vertices) < header.point_count:
        raise source.invalid(f"is cut off: {header.point_count - len(vertices):,} points missing")
    return Geometry(vertices.astype(np.float64))


def _check_records(source: Source) -> None:
    """The variable length records fit between header and points, each at least its own header long.

    Their reader goes on past the end of the file for as many as are declared. Layout: ASPRS LAS
    1.4 R15, section 2.4; the fields lie alike in every version.
    """
    header_size, start, count = struct.unpack_from("<HII", source.data, 94)
    if not header_size <= start <= len(source.data):
        raise source.invalid("is cut off: its points are missing")
    if count * RECORD_HEADER > start - header_size:
        raise source.invalid(f"is damaged: it declares {count:,} records")


def _check_chunks(source: Source, start: int) -> None:
    """The chunk table lies in the file and is no longer than it.

    Its reader allocates what the table declares, and an allocation that fails in Rust ends the
    process. Layout: LASzip's format, "compressed point data".
    """
    position = struct.unpack_from("<q", source.data, start)[0]
    if position == -1:  # written as a stream: the position is in the last 8 bytes
        position = struct.unpack_from("<q", source.data, len(source.data) - 8)[0]
    if not start < position <= len(source.data) - 8:
        raise source.invalid("is cut off: its chunk table is missing")
    count = struct.unpack_from("<I", source.data, position + 4)[0]
    if count > position - start:
        raise source.invalid(f"is damaged: it declares {count:,} chunks")

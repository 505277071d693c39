"""Point Cloud Library files (pcd): ascii, binary and binary_compressed.

Given a `Source`, back comes a `Geometry`. Format: "The PCD (Point Cloud Data) file format",
pointclouds.org; compressed bodies are Marc Lehmann's LZF over one column after another.
"""

import re
import struct
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt

from connectors.media.geometry import Geometry
from connectors.media.source import Source
from connectors.media.table import lines, numbers

LONGEST_HEADER = 1 << 16


@dataclass(frozen=True, slots=True)
class Header:
    """The lines before the body; `layout` is one point's fields, by position."""

    names: list[str]
    layout: np.dtype[np.void]
    points: int
    organised: bool
    form: str
    start: int


def read_pcd(source: Source) -> Geometry:
    """A cloud from the fields x, y and z.

    In an organised cloud (height above 1) a point of NaNs is the format's word for a pixel without
    a measurement, so such points are left out; anywhere else NaN is an error.
    """
    header = _header(source)
    read = {"ascii": _ascii, "binary": _binary, "binary_compressed": _compressed}
    if header.form not in read:
        raise source.unsupported(f"has a body of the kind {header.form[:40]}, which is not read")
    axes = _axes(source, header.names)
    vertices = read[header.form](source, header, axes)
    if header.organised:
        vertices = vertices[~np.isnan(vertices).any(axis=1)]
    return Geometry(vertices)


def _axes(source: Source, names: list[str]) -> list[int]:
    """Return which fields are x, y and z, in small letters or in capitals."""
    for axes in ("xyz", "XYZ"):
        if all(names.count(axis) == 1 for axis in axes):
            return [names.index(axis) for axis in axes]
    raise source.invalid(f"has the fields {', '.join(names)[:200]}; one x, one y and one z are needed")


def _header(source: Source) -> Header:
    data_line = re.search(rb"(?:^|[\r\n])DATA[ \t]+(\w+)[ \t]*(?:\r\n|\r|\n)", source.data[:LONGEST_HEADER])
    if data_line is None:
        raise source.invalid("is damaged or cut off: its pcd header has no DATA line")
    text = source.data[: data_line.start()].decode("latin-1")
    entries = {key: values for key, *values in (line.split() for line in text.splitlines() if line.strip())}
    # Version .5 calls its fields columns and may leave out what follows from the rest.
    names = entries.get("FIELDS") or entries.get("COLUMNS") or []
    if missing := [key for key in ("SIZE", "TYPE") if key not in entries]:
        raise source.invalid(f"is damaged: its pcd header has no {missing[0]} line")
    counts = [int(count) for count in entries.get("COUNT", ["1"] * len(names))]
    kinds = {"F": "f", "I": "i", "U": "u"}
    formats = [
        (str(i), f"<{kinds[kind.upper()]}{int(size)}", (count,))
        for i, (kind, size, count) in enumerate(zip(entries["TYPE"], entries["SIZE"], counts, strict=True))
    ]
    width, height = (int(entries.get(key, ["1"])[0]) for key in ("WIDTH", "HEIGHT"))
    points = int(entries.get("POINTS", [str(width * height)])[0])
    if len(names) != len(formats):
        raise source.invalid(f"is damaged: it has {len(names)} fields and says what {len(formats)} are")
    if points < 0 or min(counts) < 1:
        raise source.invalid("is damaged: it declares a negative size")
    source.check_points(points)
    form = data_line[1].decode("ascii").lower()
    return Header(names, np.dtype(formats), points, height > 1, form, data_line.end())


def _ascii(source: Source, header: Header, axes: list[int]) -> npt.NDArray[np.float64]:
    widths = [header.layout[i].shape[0] for i in range(len(header.names))]
    columns = [sum(widths[:axis]) for axis in axes]
    rows = islice(lines(source, source.data[header.start :]), header.points)
    table = numbers(source, rows, columns)
    if len(table) < header.points:
        raise source.invalid(f"is cut off: {len(table):,} of {header.points:,} points are there")
    return table


def _binary(source: Source, header: Header, axes: list[int]) -> npt.NDArray[np.float64]:
    missing = header.start + header.points * header.layout.itemsize - len(source.data)
    if missing > 0:
        raise source.invalid(f"is cut off: {missing:,} bytes are missing")
    table = np.frombuffer(source.data, header.layout, header.points, header.start)
    return np.stack([table[str(axis)][:, 0].astype(np.float64) for axis in axes], axis=1)


def _compressed(source: Source, header: Header, axes: list[int]) -> npt.NDArray[np.float64]:
    packed, unpacked = struct.unpack_from("<II", source.data, header.start)
    start = header.start + 8
    if start + packed > len(source.data):
        raise source.invalid(f"is cut off: {start + packed - len(source.data):,} bytes are missing")
    if unpacked != header.points * header.layout.itemsize:
        raise source.invalid("is damaged: its size does not fit its number of points")
    body = unpack_lzf(source.data[start : start + packed], unpacked)
    columns = []
    for axis in axes:
        offset = header.points * sum(header.layout[i].itemsize for i in range(axis))
        kind, width = header.layout[axis].base, header.layout[axis].shape[0]
        column = np.frombuffer(body, kind, header.points * width, offset)
        columns.append(column[::width].astype(np.float64))
    return np.stack(columns, axis=1)


def unpack_lzf(packed: bytes, size: int) -> bytes:
    """Undo LZF. Raises `ValueError` or `IndexError` unless exactly `size` bytes come out."""
    out = bytearray()
    position = 0
    while position < len(packed) and len(out) <= size:
        control = packed[position]
        position += 1
        if control < 32:  # a literal run
            out += packed[position : position + control + 1]
            position += control + 1
            continue
        length = control >> 5
        if length == 7:
            length += packed[position]
            position += 1
        start = len(out) - ((control & 31) << 8) - packed[position] - 1
        position += 1
        length += 2
        if start < 0:
            raise ValueError("LZF refers to before its beginning")
        # A run may reach into itself: it then repeats.
        run = out[start : start + length]
        out += (run * (length // len(run) + 1))[:length]
    if len(out) != size:
        raise ValueError(f"LZF gave {len(out):,} bytes instead of {size:,}")
    return bytes(out)

"""Rows of numbers as text: the body of xyz and csv files, and of ascii ply and pcd.

Holds `lines`, through which every text format is read; `numbers`, which reads a known layout; and
`read_xyz`, which finds out the layout of a file that has only rows.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from io import BytesIO, TextIOWrapper
from itertools import chain

import numpy as np
import numpy.typing as npt

from connectors.media.geometry import Geometry
from connectors.media.source import Source

LONGEST_LINE = 1 << 20
"""Characters. A line is one point or one polygon."""


def lines(source: Source, data: bytes) -> Iterator[str]:
    """The lines of UTF-8 `data`, a part of the source's; what is not UTF-8 is replaced.

    Raises `MediaTooLarge` if there are more than points and faces may have, before reading any: a
    file of line ends alone would keep a thread busy for a minute.
    """
    count, limit = data.count(b"\n"), source.limits.max_points + source.limits.max_faces
    if count > limit:
        raise source.too_large(f"{count:,} lines", f"{limit:,}")
    for line in TextIOWrapper(BytesIO(data), "utf-8-sig", errors="replace"):
        if len(line) > LONGEST_LINE:
            raise source.invalid(f"has a line of {len(line):,} characters")
        yield line


def numbers(
    source: Source, rows: Iterable[str], columns: Sequence[int], delimiter: str | None = None
) -> npt.NDArray[np.float64]:
    """Read `columns` of the rows: float64 [N, len(columns)], blank rows left out.

    Raises `InvalidMedia`, naming the row, where there is no number in one of them.
    """
    rows = iter(rows)
    # NumPy warns about tables without rows, so the first row is looked for here.
    first = next((row for row in rows if row.strip()), None)
    if first is None:
        return np.zeros((0, len(columns)))
    quote = '"' if '"' in first else None
    try:
        return np.loadtxt(
            chain([first], rows),
            usecols=columns,
            delimiter=delimiter,
            comments=None,
            ndmin=2,
            quotechar=quote,
        )
    except ValueError as error:
        raise source.invalid(f"is damaged: {_fault(str(error))}") from error


def _fault(message: str) -> str:
    """Put what NumPy says of a row that it cannot read, counted from 0, into plain words."""
    if found := re.search(r"string (.*) to float64 at row (\d+)", message):
        return f"row {int(found[2]) + 1:,} has {found[1]} where a number should be"
    if found := re.search(r"at row (\d+) with (\d+) columns", message):
        return f"row {int(found[1]) + 1:,} has {int(found[2]):,} columns only"
    return "it has rows that are not numbers"


def read_xyz(source: Source) -> Geometry:
    """A cloud from rows of x y z ..., separated by blanks, commas, semicolons or tabs.

    Comments start with # or //. A first row of names chooses the columns x, y and z where it has
    them; a first row of one number (pts files) is the count and is skipped.
    """
    rows = _rows(source)
    first = next(rows, "")
    delimiter = next((mark for mark in ",;\t" if mark in first), None)
    cells = [cell.strip().strip('"').lower() for cell in first.split(delimiter)]
    columns = [cells.index(axis) if axis in cells else i for i, axis in enumerate("xyz")]
    has_header = not _is_number(cells[0])
    if not has_header and len(cells) > 1:
        rows = chain([first], rows)
    elif not has_header:
        second = next(rows, "")
        delimiter = next((mark for mark in ",;\t" if mark in second), None)
        rows = chain([second], rows)
    return Geometry(numbers(source, _counted(source, rows), columns, delimiter))


def _rows(source: Source) -> Iterator[str]:
    """The lines that say something, without comments."""
    for line in lines(source, source.data):
        row = re.split(r"#|//", line, maxsplit=1)[0].strip()
        if row:
            yield row


def _counted(source: Source, rows: Iterable[str]) -> Iterator[str]:
    for count, row in enumerate(rows, 1):
        source.check_points(count)
        yield row


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True

"""Rows of numbers as text: the body of xyz and csv files, and of ascii ply and pcd.

Holds `lines`, through which every text format is read; `numbers`, which reads a known layout; and
`read_xyz`, which finds out the layout of a file that has only rows.
"""

import csv
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from io import BytesIO, TextIOWrapper
from itertools import chain

import numpy as np
import numpy.typing as npt

from connectors.media.columns import find, name_places
from connectors.media.geometry import Geometry
from connectors.media.source import Source

LONGEST_LINE = 1 << 20
"""Characters. A line is one point or one polygon."""

LONGEST_HEADER = 300
"""Characters of it that a message quotes."""

MOST_COMMENTS = 20
"""Lines above the first row that may name its columns."""

COMMENT = re.compile(r"#|//")
DELIMITERS = ";,\t"


def lines(source: Source, data: bytes) -> Iterator[str]:
    """The lines of UTF-8 `data`, a part of the source's; what is not UTF-8 is replaced.

    Raises `MediaTooLarge` if there are more than points and faces may have, before reading any: a
    file of line ends alone would keep a thread busy for a minute.
    """
    count, limit = (
        max(data.count(b"\n"), data.count(b"\r")),
        source.limits.max_points + source.limits.max_faces,
    )
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
    """Put what NumPy says of a row that it cannot read into plain words."""
    # It counts these from 0 and those from 1.
    if found := re.search(r"string (.*) to float64 at row (\d+)", message):
        return f"row {int(found[2]) + 1:,} of its numbers has {found[1]} where a number should be"
    if found := re.search(r"at row (\d+) with (\d+) columns", message):
        return f"row {int(found[1]):,} of its numbers has {int(found[2]):,} columns only"
    return "it has rows that are not numbers"


def read_xyz(source: Source) -> Geometry:
    """A cloud from rows of x y z ..., separated by blanks, commas, semicolons or tabs.

    Comments start with # or //. A first row of names, or a comment of names above the first row, as numpy
    and CloudCompare write it, says which columns are x, y and z (`columns.find`); one that does not is an
    error, since a time or a number would become a coordinate. Without names the first three are taken. A
    first row of one number (pts files) is the count and is skipped. Between semicolons, 1,5 is 1.5.
    """
    comments, rows = _head(source)
    first = next(rows, "")
    has_corner = first.startswith("\t")  # above row numbers, as pandas writes them, there is no name
    cells = _cells(first)
    if len(cells) == 1 and _is_number(cells[0]):
        first = next(rows, "")
        cells = _cells(first)
    columns: Sequence[int] = range(3)
    if cells and not _is_number(cells[0]):
        names, first = cells, next(rows, "")
        if not any(map(_is_number, _cells(first))) and first:
            raise source.invalid("holds no rows of numbers")
        width = len(_cells(first))
        if has_corner and width == len(names) + 1:
            names.insert(0, "")
        columns = _columns(source, names, width)
    else:
        for comment in reversed(comments):
            names = _cells(comment)
            if len(names) == len(cells) and name_places(names):
                columns = _columns(source, names, len(cells))
                break
    delimiter = next((mark for mark in DELIMITERS if mark in first), None)
    counted = _counted(source, chain([first], rows))
    if delimiter == ";" and "," in first:
        counted = (row.replace(",", ".") for row in counted)
    return Geometry(numbers(source, counted, columns, delimiter))


def _columns(source: Source, names: list[str], width: int) -> tuple[int, int, int]:
    """Return which columns are x, y and z. Raises `InvalidMedia`, naming the header, if that is not clear."""
    header = ", ".join(names)
    header = header if len(header) <= LONGEST_HEADER else header[:LONGEST_HEADER] + "..."
    if width > len(names):
        raise source.invalid(f"has {width} columns and names {len(names)} of them: {header}")
    found = find(names)
    if found is None:
        raise source.invalid(f"does not say which of its columns are x, y and z: {header}")
    return found


def _head(source: Source) -> tuple[list[str], Iterator[str]]:
    """Return the comments above the first row, and the rows: lines that say something, without comments."""
    comments: deque[str] = deque(maxlen=MOST_COMMENTS)
    every = lines(source, source.data)
    first = ""
    for line in every:
        if (first := COMMENT.split(line, maxsplit=1)[0].rstrip()).strip():
            break
        comments.append(line.strip().lstrip("#/ \t"))
    return list(comments), chain([first], _rows(every)) if first.strip() else iter(())


def _rows(every: Iterable[str]) -> Iterator[str]:
    for line in every:
        row = COMMENT.split(line, maxsplit=1)[0].strip()
        if row:
            yield row


def _cells(row: str) -> list[str]:
    """Return the cells of a row, without quotes; names may have their unit in brackets behind a blank."""
    row = row.strip()
    delimiter = next((mark for mark in DELIMITERS if mark in row), None)
    if delimiter is None:
        cells = re.findall(r'"[^"]*"|\S+', re.sub(r"[\[(][^\]()[]*[\])]", "", row))
    else:
        cells = next(csv.reader([row], delimiter=delimiter, skipinitialspace=True))
    cells = [cell.strip().strip('"') for cell in cells]
    while cells and not cells[-1]:
        cells.pop()
    return cells


def _counted(source: Source, rows: Iterable[str]) -> Iterator[str]:
    for count, row in enumerate(rows, 1):
        source.check_points(count)
        yield row


def _is_number(cell: str) -> bool:
    """Return whether a cell is a number, as one of a header hardly ever is."""
    try:
        float(cell.replace(",", "."))
    except ValueError:
        return False
    return True

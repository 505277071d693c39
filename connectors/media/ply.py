"""Polygon files (ply), ascii and binary, clouds and meshes.

Given a `Source`, back comes a `Geometry`. The reader is this project's own, since no library that may be
shipped reads binary faces of unlike lengths and notices damage: docs/media.md compares what five of them
make of the same files. Format: Greg Turk, "The PLY Polygon File Format", 1994.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import numpy.typing as npt

from connectors.errors import InvalidMedia
from connectors.media.geometry import Geometry, Triangles, Vertices, no_triangles
from connectors.media.polygons import Corners, Polygons, triangulate
from connectors.media.source import Source
from connectors.media.table import lines, numbers

# In the letters that struct and NumPy share.
TYPES = {
    "char": "b", "int8": "b", "uchar": "B", "uint8": "B",
    "short": "h", "int16": "h", "ushort": "H", "uint16": "H",
    "int": "i", "int32": "i", "uint": "I", "uint32": "I",
    "float": "f", "float32": "f", "double": "d", "float64": "d",
}  # fmt: skip

ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">"}
LONGEST_HEADER = 1 << 18
END = re.compile(rb"[\r\n]end_header[ \t]*(\n|\r)")
CR_LF = re.compile(rb"ply[ \t]*\r\n")
MOST_RAGGED_ROWS = 2_000_000
"""Binary rows of unlike lengths, which are read one by one: 3 us each."""

CORNERS = ("vertex_indices", "vertex_index")


@dataclass(frozen=True, slots=True)
class Property:
    """A named column: a number of `kind`, or with `count_kind` a list of them."""

    name: str
    kind: str
    count_kind: str | None = None


@dataclass(frozen=True, slots=True)
class Element:
    """A table of `count` rows: `vertex`, `face`, or whatever else a writer added."""

    name: str
    count: int
    properties: list[Property] = field(default_factory=list)

    @property
    def has_lists(self) -> bool:
        """Return whether rows differ in length."""
        return any(p.count_kind for p in self.properties)

    def column(self, source: Source, *names: str) -> int:
        """Which property has one of the names. Raises `InvalidMedia` if none has."""
        for i, p in enumerate(self.properties):
            if p.name in names or p.name.lower() in names:
                return i
        there = ", ".join(p.name for p in self.properties)[:200]
        raise source.invalid(f"has no {names[0]} in its element {self.name[:40]}, which has {there}")

    def row(self, order: str, lengths: list[int]) -> np.dtype[np.void]:
        """A row's layout where the lists have the given lengths, each after its count."""
        remaining = iter(lengths)
        fields: list[tuple[str, str] | tuple[str, str, tuple[int]]] = []
        for i, p in enumerate(self.properties):
            if p.count_kind is None:
                fields.append((str(i), order + p.kind))
            else:
                fields.append((f"{i} count", order + p.count_kind))
                fields.append((str(i), order + p.kind, (next(remaining),)))
        return np.dtype(fields)


def read_ply(source: Source) -> Geometry:
    """Vertices, and the faces if there are any, polygons split into triangles."""
    order, elements, start = _header(source)
    elements = [element for element in elements if element.count]
    source.check_faces(sum(element.count for element in elements if element.has_lists))
    if order is None and any(element.has_lists for element in elements):
        source.check_mesh_text()
    body = _Ascii(source, start) if order is None else _Binary(source, start, order)
    vertices: Vertices | None = None
    faces: Polygons | Corners | None = None
    for element in elements:
        if element.name == "vertex":
            source.check_points(element.count)
            vertices = body.columns(element, [element.column(source, axis) for axis in "xyz"])
        elif element.name == "face":
            faces = body.faces(element, element.column(source, *CORNERS))
        else:
            body.skip(element)
        if vertices is not None and faces is not None:
            break
    if vertices is None:
        raise source.invalid("has no vertices")
    return Geometry(vertices, _triangles(source, vertices, faces))


def _triangles(source: Source, vertices: Vertices, faces: Polygons | Corners | None) -> Triangles:
    """Return the triangles of what `faces` gave back, once the vertices are known: they may come last."""
    if faces is None:
        return no_triangles()
    if isinstance(faces, Polygons):
        return faces.triangles(vertices)
    return triangulate(source, vertices, faces)


def _header(source: Source) -> tuple[str | None, list[Element], int]:
    """Byte order (None for ascii), the elements, and where the body starts."""
    found = END.search(source.data, 0, LONGEST_HEADER)
    if found is None:
        raise source.invalid("is damaged or cut off: its ply header does not end")
    start = found.end()
    # A body of bytes may begin with what would be the second half of a line's end.
    if found[1] == b"\r" and source.data[start : start + 1] == b"\n" and CR_LF.match(source.data):
        start += 1
    order: str | None = None
    elements: list[Element] = []
    for line in source.data[: found.start()].decode("latin-1").splitlines():
        match line.split():
            case ["format", "ascii", _]:
                order = None
            case ["format", form, _]:
                if form not in ORDERS:
                    raise source.unsupported(f"is ply in the format {form[:40]}, which is not read")
                order = ORDERS[form]
            case ["element", name, count]:
                elements.append(Element(name, int(count)))
            case ["property", "list", count_kind, kind, name]:
                elements[-1].properties.append(Property(name, _type(source, kind), _type(source, count_kind)))
            case ["property", kind, name]:
                elements[-1].properties.append(Property(name, _type(source, kind)))
    for element in elements:
        # Two bytes are the least a row can take: a digit and a line end, or one number and more.
        if not 0 <= element.count <= len(source.data) or not element.properties:
            raise source.invalid(
                f"is damaged or cut off: it declares {element.count:,} rows of {element.name}"
            )
    return order, elements, start


def _type(source: Source, name: str) -> str:
    if name not in TYPES:
        raise source.invalid(f"is damaged: its ply header has the unknown type {name[:40]}")
    return TYPES[name]


class _Ascii:
    """The rows after the header, a line each, read once from first to last."""

    def __init__(self, source: Source, start: int) -> None:
        self._source = source
        self._lines = lines(source, source.data[start:])

    def columns(self, element: Element, columns: list[int]) -> npt.NDArray[np.float64]:
        """The given columns of an element without lists: [count, columns]."""
        if element.has_lists:
            raise ValueError(f"element {element.name} has lists")
        table = numbers(self._source, islice(self._lines, element.count), columns)
        if len(table) < element.count:
            raise _cut_off(self._source, element, len(table))
        return table

    def faces(self, element: Element, column: int) -> Polygons:
        """The lists in `column`."""
        polygons = Polygons(self._source)
        for polygon in self._lists(element, column):
            polygons.add(polygon)
        return polygons

    def _lists(self, element: Element, column: int) -> Iterator[list[int]]:
        done = 0
        for line in islice(self._lines, element.count):
            cells, position = line.split(), 0
            for p in element.properties[:column]:
                position += 1 if p.count_kind is None else int(cells[position]) + 1
            length = int(cells[position])
            values = [int(cell) for cell in cells[position + 1 : position + 1 + length]]
            if len(values) != length:
                break
            yield values
            done += 1
        if done < element.count:
            raise _cut_off(self._source, element, done)

    def skip(self, element: Element) -> None:
        """Pass over an element's rows."""
        next(islice(self._lines, element.count, element.count), None)


class _Binary:
    """The bytes after the header, read once from first to last."""

    def __init__(self, source: Source, start: int, order: str) -> None:
        self._source = source
        self._position = start
        self._order = order

    def columns(self, element: Element, columns: list[int]) -> npt.NDArray[np.float64]:
        """The given columns of an element without lists: [count, columns]."""
        if element.has_lists:
            raise ValueError(f"element {element.name} has lists")
        table = self._table(element, [])
        return np.stack([table[str(i)].astype(np.float64) for i in columns], axis=1)

    def faces(self, element: Element, column: int) -> Polygons | Corners:
        """The lists in `column`; as one array if they are equally long."""
        table = self._uniform(element)
        if table is not None:
            return table[str(column)].astype(np.int64)
        polygons = Polygons(self._source)
        for row in self._rows(element):
            polygons.add(row[column])
        return polygons

    def skip(self, element: Element) -> None:
        """Pass over an element's rows."""
        if not element.has_lists:
            self._table(element, [])
        elif self._uniform(element) is None:
            for _ in self._rows(element):
                pass

    def _table(self, element: Element, lengths: list[int]) -> npt.NDArray[np.void]:
        """All rows at once, where the lists have the given lengths in every row."""
        layout = element.row(self._order, lengths)
        there = (len(self._source.data) - self._position) // layout.itemsize
        if there < element.count:
            raise _cut_off(self._source, element, there)
        table = np.frombuffer(self._source.data, layout, element.count, self._position)
        self._position += table.nbytes
        return table

    def _uniform(self, element: Element) -> npt.NDArray[np.void] | None:
        """All rows at once if their lists are as long as the first row's, else None."""
        start = self._position
        lengths = [len(values) for values in next(self._ragged(element)) if values]
        self._position = start
        lists = [i for i, p in enumerate(element.properties) if p.count_kind]
        if len(lengths) < len(lists):
            return None
        try:
            table = self._table(element, lengths)
        except InvalidMedia:
            return None
        if all((table[f"{i} count"] == n).all() for i, n in zip(lists, lengths, strict=True)):
            return table
        self._position = start
        return None

    def _rows(self, element: Element) -> Iterator[list[list[int]]]:
        """All rows one by one, if they are few enough for that."""
        if element.count > MOST_RAGGED_ROWS:
            raise self._source.too_large(f"{element.count:,} faces of unlike sizes", f"{MOST_RAGGED_ROWS:,}")
        return self._ragged(element)

    def _ragged(self, element: Element) -> Iterator[list[list[int]]]:
        """Row by row, each property as a list; what is no list in the file is passed over as []."""
        for done in range(element.count):
            row: list[list[int]] = []
            for p in element.properties:
                length = 1 if p.count_kind is None else int(self._take(p.count_kind, 1)[0])
                if length < 0:
                    raise _cut_off(self._source, element, done)
                values = self._take(p.kind, length)
                row.append([] if p.count_kind is None else [int(v) for v in values])
            yield row

    def _take(self, kind: str, count: int) -> tuple[float, ...]:
        """The next `count` numbers. Raises `struct.error` at the end of the file."""
        values = struct.unpack_from(f"{self._order}{count}{kind}", self._source.data, self._position)
        self._position += struct.calcsize(f"{self._order}{count}{kind}")
        return values


def _cut_off(source: Source, element: Element, there: int) -> InvalidMedia:
    return source.invalid(f"is cut off: {element.count:,} rows of {element.name} declared, {there:,} there")

"""The JSON of a glTF scene and the arrays of numbers that it describes.

Holds `Document`. No count is believed: an array is a view of bytes that are there, and zeros are made only
for as many points as may be. Format: Khronos glTF 2.0, section 3.6; KHR_mesh_quantization.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from operator import index
from typing import Any

import numpy as np
import numpy.typing as npt

from connectors.media.source import Source

Json = dict[str, Any]

COMPONENTS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
WIDTHS = {"SCALAR": 1, "VEC3": 3, "VEC4": 4, "MAT4": 16}
MESHOPT = ("EXT_meshopt_compression", "KHR_meshopt_compression")


@dataclass(slots=True)
class Document:
    """A scene's JSON. `load` finds the bytes of a buffer, given its number and its JSON."""

    source: Source
    json: Json
    load: Callable[[int, Json], bytes]
    loaded: dict[int, bytes] = field(default_factory=dict)

    def item(self, kind: str, number: int) -> Json:
        """Return one of the lists' entries. Raises `InvalidMedia` if there is no such one."""
        entries = self.json.get(kind, [])
        if not 0 <= index(number) < len(entries):
            raise self.source.invalid(
                f"is damaged: it refers to number {number} of its {kind}, which is missing"
            )
        entry: Json = entries[number]
        return entry

    def count(self, number: int) -> int:
        """Return how many elements an accessor has: as many as lie in the file, or are said to be zeros."""
        accessor = self.item("accessors", number)
        count = index(accessor["count"])
        if "bufferView" in accessor:
            dtype = np.dtype(COMPONENTS[accessor["componentType"]])
            self._view(number, accessor, dtype, WIDTHS[accessor["type"]], count)
        elif count < 1 or "sparse" not in accessor:
            raise self.source.invalid(f"is damaged: its accessor {number} has no data")
        return count

    def array(self, number: int, kind: str) -> npt.NDArray[Any]:
        """Return an accessor's numbers: [count, width], of their own type or, normalised, float64.

        What may not be believed, `count` of an accessor without bytes, is for the caller to check.
        """
        accessor = self.item("accessors", number)
        if accessor["type"] != kind:
            raise self.source.invalid(f"is damaged: its accessor {number} is {accessor['type']}, not {kind}")
        count, dtype = self.count(number), np.dtype(COMPONENTS[accessor["componentType"]])
        sparse = accessor.get("sparse")
        if "bufferView" in accessor:
            found = self._view(number, accessor, dtype, WIDTHS[kind], count)
        else:
            found = np.zeros((count, WIDTHS[kind]), dtype)
        if sparse is not None:
            found = self._patched(number, found, sparse)
        if accessor.get("normalized") and dtype.kind in "iu":
            return np.maximum(found / float(np.iinfo(dtype).max), -1.0)
        return found

    def _patched(self, number: int, found: npt.NDArray[Any], sparse: Json) -> npt.NDArray[Any]:
        """Return an array with the entries that a sparse accessor replaces."""
        count, where, values = index(sparse["count"]), sparse["indices"], sparse["values"]
        places = self._view(number, where, np.dtype(COMPONENTS[where["componentType"]]), 1, count)[:, 0]
        if places.dtype.kind != "u" or places.max() >= len(found):
            raise self.source.invalid(f"is damaged: its accessor {number} replaces what it does not have")
        found = found.copy()
        found[places] = self._view(number, values, found.dtype, found.shape[1], count)
        return found

    def _view(
        self, number: int, place: Json, dtype: np.dtype[Any], width: int, count: int
    ) -> npt.NDArray[Any]:
        """Return the rows that begin at a place in a buffer view, after a look at where they end."""
        view = self.item("bufferViews", place["bufferView"])
        buffer = self._buffer(view)
        row = dtype.itemsize * width
        stride = index(view.get("byteStride", row))
        start = index(view.get("byteOffset", 0)) + index(place.get("byteOffset", 0))
        if min(start, count - 1, stride - row) < 0 or start + stride * (count - 1) + row > len(buffer):
            raise self.source.invalid(f"is damaged: its accessor {number} does not lie in the file")
        return np.ndarray((count, width), dtype, buffer, start, (stride, dtype.itemsize))

    def _buffer(self, view: Json) -> bytes:
        number = index(view["buffer"])
        buffer = self.item("buffers", number)
        extensions = buffer.get("extensions", {})
        if any(extensions.get(name, {}).get("fallback") for name in MESHOPT):
            raise self.source.unsupported("is compressed with meshopt, which is not read; save it without")
        if number not in self.loaded:
            self.loaded[number] = self.load(number, buffer)
        return self.loaded[number]

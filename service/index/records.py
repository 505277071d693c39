"""Stored points as back ends handle them, and how they cross to another process: as JSON and raw floats.

A message is a JSON head and any number of records. On the wire: the head's length (4 bytes, little-endian),
the head, in which `records` lists ids, payloads, scores and vector names, then the vectors' float32 numbers
one after another. No pickle: a message cannot carry code.
"""

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

_LENGTH = struct.Struct("<I")


@dataclass(frozen=True)
class Record:
    """One stored point by its Qdrant id; `vectors` is empty where a call did not ask for them."""

    uuid: str
    payload: Mapping[str, Any]
    vectors: Mapping[str, npt.NDArray[np.float32]]
    score: float = 0.0


def pack(head: Mapping[str, Any], records: Sequence[Record] = ()) -> bytes:
    """A message's bytes. `head` is JSON without the key `records`."""
    rows = [
        [each.uuid, each.payload, each.score, [[name, len(vector)] for name, vector in each.vectors.items()]]
        for each in records
    ]
    encoded = json.dumps({**head, "records": rows}, separators=(",", ":")).encode()
    numbers = [
        np.ascontiguousarray(vector, dtype="<f4").tobytes()
        for each in records
        for vector in each.vectors.values()
    ]
    return b"".join([_LENGTH.pack(len(encoded)), encoded, *numbers])


def unpack(message: bytes) -> tuple[dict[str, Any], list[Record]]:
    """A message's head and records; their vectors are read-only views of `message`."""
    [length] = _LENGTH.unpack_from(message)
    head = json.loads(message[_LENGTH.size : _LENGTH.size + length])
    numbers = np.frombuffer(message, dtype="<f4", offset=_LENGTH.size + length)
    records, at = [], 0
    for uuid, payload, score, names in head.pop("records"):
        vectors = {}
        for name, dim in names:
            vectors[name] = numbers[at : at + dim]
            at += dim
        records.append(Record(uuid, payload, vectors, score))
    return head, records

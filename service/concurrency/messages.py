"""Typed messages between the service and its child processes. No pickle: a message cannot carry code.

A message is a frozen dataclass. Its fields are `str`, `int`, `float`, `bool`, unions of those and `Literal`;
JSON values (`Any`); `bytes`; numpy arrays; other dataclasses; sequences and string-keyed mappings of all
these; and any of them or `None`. On the wire:

    8 bytes     length of the head, little-endian
    8 bytes     length of the buffers
    head        JSON, [kind, [value of each field in order]]; the kind is the class's name
    buffers     the fields' arrays and bytes, in the order in which the head gives their sizes

The head and each buffer are padded to a multiple of 8 bytes, so arrays lie aligned.
"""

import json
import math
import struct
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from operator import attrgetter
from typing import Any, ClassVar, Generic, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

MAX_BYTES = 1 << 31
"""Greatest length of a message, and so the most that a receiver allocates for one."""
PREFIX = struct.Struct("<QQ")

M = TypeVar("M")
R = TypeVar("R")

_ALIGNMENT = 8
_SCALARS = (str, int, float, bool)


class MessageError(RuntimeError):
    """Bytes that are no message of the protocol, or a message that is too long to send."""


class ChildError(Exception):
    """An exception raised in a child process: the name of its class, and its message."""

    def __init__(self, error: str, message: str) -> None:
        super().__init__(f"{error}: {message}")
        self.error = error
        self.message = message


@dataclass(frozen=True)
class Done:
    """A request was carried out and has no result."""


@dataclass(frozen=True)
class Failed:
    """A request raised an exception."""

    error: str
    message: str

    @classmethod
    def of(cls, error: Exception) -> "Failed":
        """Describe an exception, keeping nothing of what its traceback has in memory."""
        return cls(type(error).__name__, str(error))


class Kinds(Generic[M]):
    """The message classes that one receiver understands."""

    def __init__(self, *kinds: type[M]) -> None:
        classes: tuple[Any, ...] = kinds
        self._decoders: dict[str, _Decode] = {kind.__name__: _codec(kind).decode for kind in classes}

    def unpack(self, data: bytearray) -> M:
        """Read a message; its arrays are views of `data`. Raises `MessageError`."""
        try:
            head_bytes, buffer_bytes = PREFIX.unpack_from(data)
            if PREFIX.size + head_bytes + buffer_bytes != len(data):
                raise MessageError("its length is not the one it begins with")
            end = PREFIX.size + head_bytes
            kind, values = json.loads(data[PREFIX.size : end].decode())
            if (decode := self._decoders.get(kind)) is None:
                raise MessageError(f"its kind is {kind!r}; there are {', '.join(self._decoders)}")
            buffers = _Buffers(data, end)
            message: M = decode(values, buffers)
            buffers.check_end()
        except MessageError:
            raise
        except (ValueError, TypeError, RecursionError, struct.error) as error:
            raise MessageError(f"not a message: {error}") from error
        return message


class Request(Generic[R]):
    """Base of the messages that are answered with an `R`, which is one class or a union of some."""

    replies: ClassVar[Kinds[Any]]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        [[reply]] = [get_args(base) for base in vars(cls)["__orig_bases__"] if get_origin(base) is Request]
        cls.replies = Kinds(Failed, *(get_args(reply) or (reply,)))


def pack(message: object) -> bytes:
    """Return a message's bytes. Raises `MessageError` if it is longer than `MAX_BYTES`."""
    kind: Any = type(message)
    buffers = _Packed()
    head = _JSON.encode([kind.__name__, _codec(kind).encode(message, buffers)]).encode()
    head += b" " * (-len(head) % _ALIGNMENT)
    size = PREFIX.size + len(head) + buffers.size
    if size > MAX_BYTES:
        raise MessageError(f"{kind.__name__} would take {size:,} bytes; the limit is {MAX_BYTES:,}")
    return b"".join([PREFIX.pack(len(head), buffers.size), head, *buffers.parts])


def unpack_reply(request: Request[R], data: bytearray) -> R:
    """Read the reply to a request. Raises `ChildError` for one that failed, else `MessageError`."""
    reply = request.replies.unpack(data)
    if isinstance(reply, Failed):
        raise ChildError(reply.error, reply.message)
    answer: R = reply
    return answer


class _Packed:
    """The buffers of a message that is being packed: arrays, bytes and padding."""

    def __init__(self) -> None:
        self.parts: list[Any] = []
        self.size = 0

    def add(self, buffer: Any, size: int) -> None:
        """Append a contiguous buffer of `size` bytes."""
        self.parts.append(buffer)
        if padding := -size % _ALIGNMENT:
            self.parts.append(bytes(padding))
        self.size += size + padding


class _Buffers:
    """The buffers of a message that is being read, taken from it one after another."""

    def __init__(self, data: bytearray, start: int) -> None:
        self._data = data
        self._at = start
        self._end = len(data)
        self._views: dict[str, Any] = {}

    def take_bytes(self, size: int) -> bytes:
        """Return the next `size` bytes."""
        start = self._pass(size)
        with memoryview(self._data) as view:
            return bytes(view[start : start + size])

    def take_array(self, count: int, dtype: str, item_bytes: int) -> Any:
        """Return the next `count` items as an array, a view of the message."""
        first = self._pass(count * item_bytes) // item_bytes
        view = self._views.get(dtype)
        if view is None:  # of the whole message: to slice it costs less than a view of each part
            view = np.frombuffer(self._data, dtype, self._end // item_bytes)
            self._views[dtype] = view
        return view[first : first + count]

    def _pass(self, size: int) -> int:
        start = self._at
        self._at = end = (start + size + _ALIGNMENT - 1) & -_ALIGNMENT
        if end > self._end or size < 0:
            raise MessageError(f"a buffer of {size:,} bytes is more than there are")
        return start

    def check_end(self) -> None:
        """Raise `MessageError` if buffers are left."""
        if self._at != self._end:
            raise MessageError(f"there are {self._end - self._at:,} bytes too many")


_Encode = Callable[[Any, _Packed], Any]
"""Return a field's JSON, and append its buffers."""
_Decode = Callable[[Any, _Buffers], Any]
"""Return a field from its JSON, and take its buffers. Raises `MessageError`."""


@dataclass(frozen=True)
class _Codec:
    """One type's two directions. `plain`: its values are JSON as they are."""

    decode: _Decode
    encode: _Encode
    plain: bool = False


@cache
def _codec(kind: Any) -> _Codec:
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return _Codec(lambda raw, _: raw, _as_it_is, plain=True)
    if kind is float:
        return _Codec(_decode_float, _as_it_is, plain=True)
    if kind in _SCALARS:
        return _type(kind)
    if origin is Literal:
        return _literal(arguments)
    if origin in (Union, types.UnionType):
        return _union(arguments)
    if kind is bytes:
        return _Codec(_decode_bytes, _encode_bytes)
    if origin is np.ndarray:
        return _array(np.dtype(get_args(arguments[1])[0]))
    if origin is Sequence:
        return _sequence(_codec(arguments[0]))
    if origin is Mapping and arguments[0] is str:
        return _mapping(_codec(arguments[1]))
    if isinstance(kind, type) and is_dataclass(kind):
        return _dataclass(kind)
    raise TypeError(f"a message cannot hold {kind}")


def _as_it_is(value: Any, buffers: _Packed) -> Any:
    return value


def _decode_float(raw: Any, buffers: _Buffers) -> float:
    if type(raw) is not float and type(raw) is not int:
        raise MessageError(f"{raw!r:.40} is no number")
    return float(raw)


def _type(kind: type) -> _Codec:
    def decode(raw: Any, buffers: _Buffers) -> Any:
        if type(raw) is not kind:
            raise MessageError(f"{raw!r:.40} is no {kind.__name__}")
        return raw

    return _Codec(decode, _as_it_is, plain=True)


def _one_of_types(*kinds: type) -> _Codec:
    def decode(raw: Any, buffers: _Buffers) -> Any:
        if type(raw) not in kinds:
            raise MessageError(f"{raw!r:.40} is no {' or '.join(each.__name__ for each in kinds)}")
        return raw

    return _Codec(decode, _as_it_is, plain=True)


def _literal(values: tuple[Any, ...]) -> _Codec:
    def decode(raw: Any, buffers: _Buffers) -> Any:
        if raw not in values:
            raise MessageError(f"{raw!r:.40} is none of {values}")
        return raw

    return _Codec(decode, _as_it_is, plain=True)


def _union(kinds: tuple[Any, ...]) -> _Codec:
    left = [each for each in kinds if each is not types.NoneType]
    if all(each in _SCALARS for each in kinds):
        return _one_of_types(*kinds)
    if len(left) == len(kinds) or (len(left) > 1 and any(each not in _SCALARS for each in left)):
        raise TypeError(f"a message cannot hold a union of {kinds}")
    inner = _codec(left[0]) if len(left) == 1 else _one_of_types(*left)
    return _Codec(
        lambda raw, buffers: None if raw is None else inner.decode(raw, buffers),
        lambda value, buffers: None if value is None else inner.encode(value, buffers),
        inner.plain,
    )


def _decode_bytes(raw: Any, buffers: _Buffers) -> bytes:
    if type(raw) is not int:
        raise MessageError(f"{raw!r:.40} is no size of a buffer")
    return buffers.take_bytes(raw)


def _encode_bytes(value: bytes, buffers: _Packed) -> int:
    buffers.add(value, len(value))
    return len(value)


def _array(dtype: np.dtype[Any]) -> _Codec:
    wire = dtype.newbyteorder("<")
    name, item_bytes = wire.str, wire.itemsize

    def decode(raw: Any, buffers: _Buffers) -> Any:
        if type(raw) is int:
            return buffers.take_array(raw, name, item_bytes)
        if type(raw) is not list or not all(type(size) is int and size >= 0 for size in raw):
            raise MessageError(f"{raw!r:.40} is no shape of an array")
        return buffers.take_array(math.prod(raw), name, item_bytes).reshape(raw)

    def encode(value: Any, buffers: _Packed) -> int | tuple[int, ...]:
        array = np.ascontiguousarray(value, wire)
        buffers.add(array, array.nbytes)
        return len(array) if array.ndim == 1 else array.shape

    return _Codec(decode, encode)


def _sequence(item: _Codec) -> _Codec:
    encode_item, decode_item = item.encode, item.decode

    def decode(raw: Any, buffers: _Buffers) -> list[Any]:
        if type(raw) is not list:
            raise MessageError(f"{raw!r:.40} is no list")
        return [decode_item(each, buffers) for each in raw]

    def encode(value: Sequence[Any], buffers: _Packed) -> list[Any]:
        return [encode_item(each, buffers) for each in value]

    return _Codec(decode, _as_it_is if item.plain else encode, item.plain)


def _mapping(item: _Codec) -> _Codec:
    encode_item, decode_item = item.encode, item.decode
    json_object = item is _codec(Any)

    def decode(raw: Any, buffers: _Buffers) -> dict[str, Any]:
        if type(raw) is not dict:
            raise MessageError(f"{raw!r:.40} is no object")
        return raw if json_object else {name: decode_item(each, buffers) for name, each in raw.items()}

    def encode(value: Mapping[str, Any], buffers: _Packed) -> dict[str, Any]:
        return {name: encode_item(each, buffers) for name, each in value.items()}

    return _Codec(decode, _as_it_is if item.plain else encode, item.plain)


def _dataclass(kind: type) -> _Codec:
    hints = get_type_hints(kind)
    names = [each.name for each in fields(kind)]
    codecs = [_codec(hints[name]) for name in names]
    decoders = [each.decode for each in codecs]
    encoders = [(i, each.encode) for i, each in enumerate(codecs) if not each.plain]
    values = attrgetter(*names) if len(names) > 1 else lambda value: [getattr(value, name) for name in names]

    def decode(raw: Any, buffers: _Buffers) -> Any:
        if type(raw) is not list or len(raw) != len(names):
            raise MessageError(f"{raw!r:.40} are not the {len(names)} fields of {kind.__name__}")
        return kind(*[decode(each, buffers) for decode, each in zip(decoders, raw, strict=True)])

    def encode(value: Any, buffers: _Packed) -> list[Any]:
        row = list(values(value))
        for i, encode in encoders:
            row[i] = encode(row[i], buffers)
        return row

    return _Codec(decode, encode)


def _plain(value: object) -> object:
    """Return the mappings and sequences that JSON does not know as those it does."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence):
        return list(value)
    raise TypeError(f"a message cannot hold {value!r:.40}")


_JSON = json.JSONEncoder(separators=(",", ":"), default=_plain)

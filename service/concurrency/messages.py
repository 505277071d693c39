"""Typed messages between the service and its child processes. No pickle: a message cannot carry code.

A message is a frozen dataclass of the types that msgspec reads and checks, and of numpy arrays. On the wire
it is MessagePack, [kind, {field: value}], where the kind is the class's name and an array is [dtype, shape,
bytes].
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar, get_args, get_origin

import msgspec
import numpy as np

MAX_BYTES = 1 << 31
"""Greatest length of a message, and so the most that a receiver allocates for one."""

M = TypeVar("M")
R = TypeVar("R")


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
        self._decoders = {
            kind.__name__: msgspec.msgpack.Decoder(kind, dec_hook=_read_array) for kind in classes
        }

    def unpack(self, data: bytes | bytearray) -> M:
        """Read a message. Raises `MessageError`."""
        try:
            kind, fields = _ENVELOPE.decode(data)
            if (decoder := self._decoders.get(kind)) is None:
                raise MessageError(f"its kind is {kind!r}; there are {', '.join(self._decoders)}")
            message: M = decoder.decode(fields)
        except (msgspec.MsgspecError, ValueError, TypeError, RecursionError) as error:
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
    """Return a message's bytes. Raises `MessageError` if it is longer than `MAX_BYTES`.

    The same for an integer of more than 64 bits, and for text that is no Unicode.
    """
    try:
        packed = _ENCODER.encode((type(message).__name__, message))
    except (OverflowError, UnicodeEncodeError) as error:
        raise MessageError(f"{type(message).__name__} cannot be sent: {error}") from error
    if len(packed) > MAX_BYTES:
        raise MessageError(
            f"{type(message).__name__} would take {len(packed):,} bytes; the limit is {MAX_BYTES:,}"
        )
    return packed


def unpack_reply(request: Request[R], data: bytes | bytearray) -> R:
    """Read the reply to a request. Raises `ChildError` for one that failed, else `MessageError`."""
    reply = request.replies.unpack(data)
    if isinstance(reply, Failed):
        raise ChildError(reply.error, reply.message)
    answer: R = reply
    return answer


def _write_array(value: Any) -> tuple[str, tuple[int, ...], bytes]:
    if not isinstance(value, np.ndarray):
        raise TypeError(f"a message cannot hold a {type(value).__name__}")
    array = value.astype(value.dtype.newbyteorder("<"), copy=False)
    return array.dtype.str, array.shape, array.tobytes()


def _read_array(kind: Any, raw: Any) -> Any:
    """Return an array of the dtype that its field asks for."""
    if get_origin(kind) is not np.ndarray:
        raise TypeError(f"a message cannot hold {kind}")
    wanted = np.dtype(get_args(get_args(kind)[1])[0]).newbyteorder("<")
    name, shape, data = msgspec.convert(raw, tuple[str, tuple[int, ...], bytes])
    if name != wanted.str or any(size < 0 for size in shape):
        raise ValueError(f"an array of {name} {shape} where {wanted.str} was expected")
    return np.frombuffer(bytearray(data), wanted).reshape(shape)  # a bytearray: arrays are writable


_ENCODER = msgspec.msgpack.Encoder(enc_hook=_write_array)
_ENVELOPE = msgspec.msgpack.Decoder(tuple[str, msgspec.Raw])

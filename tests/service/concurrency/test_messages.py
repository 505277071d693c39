"""Messages arrive as they were sent, and bytes that are no message of the protocol are refused."""

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.concurrency import messages
from service.concurrency.messages import (
    ChildError,
    Done,
    Failed,
    Kinds,
    MessageError,
    Request,
    pack,
    unpack_reply,
)


@dataclass(frozen=True)
class Part:
    name: str
    rows: npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Everything(Request[Done]):
    text: str
    number: float
    choice: Literal["a", "b"]
    value: str | int | bool
    payload: Mapping[str, Any]
    maybe: Sequence[str] | None
    parts: Sequence[Part]
    arrays: Mapping[str, npt.NDArray[np.uint8]]
    data: bytes


@dataclass(frozen=True)
class Other(Request[Done]):
    count: int


KINDS: Kinds[Everything | Other] = Kinds(Everything, Other)


def everything(data: bytes = b"abc", value: str | int | bool = True) -> Everything:
    parts = [Part("ü", np.arange(7, dtype=np.float32)), Part("", np.ones((3, 2), np.float32)[:, ::-1])]
    arrays = {"image": np.arange(30, dtype=np.uint8).reshape(5, 2, 3), "none": np.zeros((0, 4), np.uint8)}
    return Everything("t", 1, "a", value, {"n": [None, 0.1]}, None, parts, arrays, data)


def with_fields(kind: object, fields: object) -> bytes:
    return msgspec.msgpack.encode([kind, fields])


def test_every_kind_of_field_arrives_as_it_was_sent() -> None:
    sent, got = everything(), KINDS.unpack(pack(everything()))
    assert isinstance(got, Everything)
    for name in ("text", "number", "choice", "value", "payload", "maybe", "data"):
        assert getattr(got, name) == getattr(sent, name)
    assert got.value is True
    assert [each.name for each in got.parts] == ["ü", ""]
    for array, expected in [
        *zip((each.rows for each in got.parts), (each.rows for each in sent.parts), strict=True),
        *((got.arrays[name], sent.arrays[name]) for name in sent.arrays),
    ]:
        assert array.dtype == expected.dtype
        assert array.flags.writeable
        np.testing.assert_array_equal(array, expected)


@given(st.binary(max_size=40), st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=9))
def test_bytes_and_values_of_every_length(data: bytes, value: str | int | bool) -> None:
    got = KINDS.unpack(pack(everything(data, value)))
    assert isinstance(got, Everything)
    assert got.data == data and got.value == value and type(got.value) is type(value)
    np.testing.assert_array_equal(got.arrays["image"], everything().arrays["image"])


def test_a_reply_is_of_the_kind_that_its_request_is_answered_with() -> None:
    assert unpack_reply(Other(1), bytearray(pack(Done()))) == Done()
    with pytest.raises(MessageError, match="its kind is 'Other'"):
        unpack_reply(Other(1), pack(Other(1)))
    with pytest.raises(ChildError, match="KeyError: 'x'") as raised:
        unpack_reply(Other(1), bytearray(pack(Failed.of(KeyError("x")))))
    assert (raised.value.error, raised.value.message) == ("KeyError", "'x'")


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (["Nothing", {}], "its kind is 'Nothing'"),
        ([["Other"], {"count": 1}], "str"),
        (["Other", [1]], "object"),
        (["Other", {}], "missing required field"),
        (["Other", {"count": "1"}], "int"),
        (["Other", {"count": True}], "int"),
        (["Other", {"count": 1}, 3], "length 2"),
        ({"Other": 1}, "array"),
        (7, "array"),
    ],
)
def test_other_kinds_and_fields_are_refused(message: object, reason: str) -> None:
    with pytest.raises(MessageError, match=reason):
        KINDS.unpack(msgspec.msgpack.encode(message))


@pytest.mark.parametrize(
    "array",
    [
        ["<f4", [-8], bytes(32)],
        ["<f4", [9], bytes(32)],
        ["<f4", [1 << 40, 1 << 40], bytes(32)],
        ["<f4", [1.0], bytes(32)],
        ["<f4", [8], "text"],
        ["<f8", [4], bytes(32)],
        ["|O", [4], bytes(32)],
        [[8], bytes(32)],
        None,
    ],
)
def test_arrays_of_another_size_or_type_are_refused(array: object) -> None:
    kinds: Kinds[Part] = Kinds(Part)
    with pytest.raises(MessageError):
        kinds.unpack(with_fields("Part", {"name": "", "rows": array}))


def test_bytes_that_are_no_message_are_refused() -> None:
    whole = pack(everything())
    for data in (b"", whole[:9], whole[:-8], whole + bytes(8), pickle.dumps(everything()), b"\xff\xff"):
        with pytest.raises(MessageError):
            KINDS.unpack(data)
    with pytest.raises(MessageError):
        KINDS.unpack(b"\x91" * 200_000)


def test_a_message_that_holds_something_else_is_not_sent() -> None:
    with pytest.raises(TypeError, match="cannot hold a object"):
        pack(Part("", object()))  # type: ignore[arg-type]
    for value in (1 << 64, "\ud800"):
        with pytest.raises(MessageError, match="cannot be sent"):
            pack(everything(value=value))


def test_a_message_that_is_too_long_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "MAX_BYTES", 1_000)
    pack(everything(bytes(400)))
    with pytest.raises(MessageError, match="the limit is 1,000"):
        pack(everything(bytes(1_000)))

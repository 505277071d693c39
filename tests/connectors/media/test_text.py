import pytest

from connectors.errors import InvalidMedia, MediaTooLarge
from connectors.media import Limits, decode


def test_text_is_stripped_utf8():
    assert decode("text", " ein größerer Hund\n".encode()) == "ein größerer Hund"


def test_a_byte_order_mark_is_no_part_of_the_text():
    assert decode("text", b"\xef\xbb\xbfa dog") == "a dog"


def test_text_that_looks_like_a_mesh_is_still_text_when_sent_as_text():
    assert decode("text", b"OFF 3 4 is a header") == "OFF 3 4 is a header"


@pytest.mark.parametrize("data", [b"", b" \n\t", b"\xef\xbb\xbf"])
def test_no_text_is_invalid(data):
    with pytest.raises(InvalidMedia, match=r"query\.txt"):
        decode("text", data, name="query.txt")


def test_other_encodings_are_invalid_and_the_byte_is_named():
    with pytest.raises(InvalidMedia, match=r"is not UTF-8 text \(byte 4\)"):
        decode("text", b"abcd\xff")


def test_long_text_is_too_large_after_stripping():
    limits = Limits(max_characters=10)
    assert decode("text", b"   0123456789   ", limits=limits) == "0123456789"
    with pytest.raises(MediaTooLarge, match="11 characters; the limit is 10"):
        decode("text", b"01234567890", limits=limits)

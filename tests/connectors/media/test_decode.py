from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import samples
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors import media
from connectors.errors import InvalidMedia, MediaError, MediaTooLarge, UnsupportedMedia
from connectors.media import Limits, decode, sniff

EVERY_FILE = [(modality, name) for modality, files in samples.FILES.items() for name in files]


def same(a, b):
    return np.array_equal(np.asarray(a), np.asarray(b))


def test_the_public_names_are_these():
    assert sorted(media.__all__) == ["Limits", "MediaType", "decode", "sniff"]


@pytest.mark.parametrize("modality", ["text", "image", "audio", "point_cloud"])
def test_an_empty_file_is_invalid_and_named(modality):
    with pytest.raises(InvalidMedia, match=r"nothing\.bin is empty"):
        decode(modality, b"", name="nothing.bin")


@pytest.mark.parametrize("modality", ["text", "image", "audio", "point_cloud"])
def test_200_mb_are_too_large(modality):
    with pytest.raises(MediaTooLarge, match=r"big has 209,715,200 bytes; the limit is 104,857,600"):
        decode(modality, bytes(200 * 1024 * 1024), name="big")


@pytest.mark.parametrize("modality", ["image", "audio", "point_cloud"])
def test_an_unknown_type_is_unsupported(modality):
    with pytest.raises(UnsupportedMedia, match=r"a\.exe is of an unknown type"):
        decode(modality, b"MZ\x90\0" + bytes(range(256)), name="a.exe")


def test_an_unknown_modality_is_unsupported():
    with pytest.raises(
        UnsupportedMedia, match="no modality 'smell'; there are text, image, audio, point_cloud"
    ):
        decode("smell", b"x")


def test_messages_never_carry_control_characters_or_endless_names():
    with pytest.raises(InvalidMedia) as caught:
        decode("image", b"", name="a\x1b[31m\n" + "x" * 1000)
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 200


@pytest.mark.parametrize(("modality", "name"), EVERY_FILE)
def test_an_item_without_a_name_decodes_the_same(modality, name):
    data = samples.file(modality, name)
    if name == "a.csv":
        data = data.partition(b"\n")[2]
    assert same(decode(modality, data), decode(modality, data, name=name))


def test_many_threads_decode_the_same_as_one():
    files = [(m, n, samples.file(m, n)) for m, n in EVERY_FILE] * 3
    alone = [decode(m, data, name=n) for m, n, data in files]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda item: decode(item[0], item[2], name=item[1]), files))
    assert all(map(same, alone, together))


@pytest.mark.parametrize(("modality", "name"), EVERY_FILE)
@pytest.mark.filterwarnings("ignore")  # what libraries warn about may well decode
@settings(max_examples=40, deadline=2_000, derandomize=True)
@given(
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=8),
    near_start=st.booleans(),
    kept=st.one_of(st.just(1.0), st.floats(0, 1)),
)
def test_damage_raises_media_errors_and_nothing_else(modality, name, flips, near_start, kept):
    data = bytearray(samples.file(modality, name))
    for place, value in flips:
        data[int(place * (min(len(data), 300) if near_start else len(data)))] = value
    try:
        decoded = decode(
            modality, bytes(data[: int(len(data) * kept)]), name=name, limits=Limits(max_pixels=10**6)
        )
    except MediaError as error:
        assert error.message.startswith(name)
        assert "object at 0x" not in error.message
    else:
        assert np.isfinite(np.asarray(decoded)).all()


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=200, deadline=2_000, derandomize=True)
@given(data=st.binary(max_size=200), name=st.one_of(st.none(), st.text(max_size=10)))
def test_any_bytes_are_media_or_a_media_error(data, name):
    try:
        modality = sniff(data, name).modality
        decode(modality, data, name=name)
    except MediaError as error:
        assert error.message

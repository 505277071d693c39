"""Inputs of every kind become examples with ids that are the same for every encoder."""

from pathlib import Path

import numpy as np
import pytest

from connectors.errors import ConfigError, InvalidMedia, MissingFiles
from training.examples import Example, load
from training.inputs import read_inputs


def test_a_text_file_is_one_item_a_line(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("a dog\n\n  zwei Töne \n", encoding="utf-8")
    assert read_inputs(tmp_path / "t.txt", "text") == [
        Example("1", text="a dog"),
        Example("3", text="zwei Töne"),
    ]


def test_a_jsonl_manifest_names_texts_or_files_beside_it(tmp_path: Path) -> None:
    manifest = tmp_path / "m.jsonl"
    manifest.write_text('{"id": "x", "text": "a dog", "label": "dog"}\n{"caption": "rain"}\n')
    assert read_inputs(manifest, "text") == [
        Example("x", text="a dog", label="dog"),
        Example("2", text="rain"),
    ]
    manifest.write_text('{"source": "a/b.png", "label": 3, "group": "roll 7"}\n')
    picture = Example("a/b.png", source=tmp_path / "a/b.png", label="3", group="roll 7")
    assert read_inputs(manifest, "image") == [picture]
    assert picture.item(tmp_path) == {"id": "a/b.png", "source": "a/b.png", "label": "3", "group": "roll 7"}


def test_a_csv_manifest_does_too(tmp_path: Path) -> None:
    (tmp_path / "meta.csv").write_text("file,label\na.ogg,dog\nb.ogg,\n")
    assert read_inputs(tmp_path / "meta.csv", "audio") == [
        Example("a.ogg", source=tmp_path / "a.ogg", label="dog"),
        Example("b.ogg", source=tmp_path / "b.ogg"),
    ]


def test_a_folder_gives_its_files_of_the_modality_in_order_of_path(tmp_path: Path) -> None:
    for name in ("z.png", "b/a.JPG", "b/notes.txt", ".cache/x.png", "s.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert [example.id for example in read_inputs(tmp_path, "image")] == ["b/a.JPG", "z.png"]


def test_a_stack_of_clouds_gives_one_item_a_row(tmp_path: Path) -> None:
    clouds = np.random.default_rng(0).normal(size=(3, 64, 3)).astype(np.float16)
    np.savez(tmp_path / "clouds.npz", xyz=clouds)
    examples = read_inputs(tmp_path / "clouds.npz", "point_cloud")
    assert [example.id for example in examples] == ["0", "1", "2"]
    points = load(examples[2], "point_cloud")
    assert isinstance(points, np.ndarray)
    assert points.dtype == np.float32
    np.testing.assert_array_equal(points, clouds[2].astype(np.float32))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.jsonl", b'{"text": "a"}\n{oops\n', "line 2 is not JSON"),
        ("m.jsonl", b'{"txt": "a"}\n', "line 1 has no text or caption"),
        ("m.jsonl", b"[1]\n", "line 1 is not an object"),
        ("m.jsonl", b'{"id": "a", "text": "x"}\n{"id": "a", "text": "y"}\n', "more than once"),
        ("t.txt", b"\xff\xfe\n", "not UTF-8"),
        ("t.txt", b"\n\n", "holds no text"),
    ],
)
def test_a_bad_manifest_is_named_with_its_line(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        read_inputs(tmp_path / name, "text")


def test_an_input_that_is_not_there_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingFiles, match="does not exist"):
        read_inputs(tmp_path / "no.txt", "text")


def test_a_file_that_is_not_there_is_bad_media(tmp_path: Path) -> None:
    with pytest.raises(InvalidMedia, match="cannot be read"):
        load(Example("a", source=tmp_path / "a.png"), "image")

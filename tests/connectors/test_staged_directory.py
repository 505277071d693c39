"""A staged directory appears whole, or the former one stays."""

from pathlib import Path

import pytest

from connectors.staged_directory import staged_directory


def test_what_is_written_becomes_the_directory(tmp_path: Path) -> None:
    for text in ("first", "second"):
        with staged_directory(tmp_path / "deep" / "d") as staging:
            (staging / text).write_text(text)
        assert [p.name for p in (tmp_path / "deep" / "d").iterdir()] == [text]
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["d"]


def test_a_failed_block_leaves_the_former_directory(tmp_path: Path) -> None:
    with staged_directory(tmp_path / "d") as staging:
        (staging / "kept").touch()
    with pytest.raises(RuntimeError), staged_directory(tmp_path / "d") as staging:
        (staging / "half").touch()
        raise RuntimeError
    assert [p.name for p in tmp_path.rglob("*")] == ["d", "kept"]

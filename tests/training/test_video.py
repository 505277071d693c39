"""The picture at a moment of a video is the one shown then."""

from pathlib import Path

import numpy as np
import pytest
from tiny_video import write_video

from connectors.errors import InvalidMedia
from training.video import frame


@pytest.mark.parametrize(("seconds", "second"), [(0.5, 0), (1.5, 1), (3.5, 3), (99.0, 3), (None, 2)])
def test_the_frame_is_the_one_shown_then(tmp_path: Path, seconds: float | None, second: int) -> None:
    write_video(tmp_path / "v.mp4")
    shade = np.asarray(frame(tmp_path / "v.mp4", seconds)).mean()
    assert shade == pytest.approx(40 + 50 * second, abs=8)


def test_what_is_no_video_is_bad_media(tmp_path: Path) -> None:
    (tmp_path / "v.mp4").write_bytes(b"nothing")
    with pytest.raises(InvalidMedia, match="not a readable video"):
        frame(tmp_path / "v.mp4")
    with pytest.raises(FileNotFoundError):
        frame(tmp_path / "absent.mp4")

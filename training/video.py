"""One picture out of a video file, for benchmarks that pair a clip's sound with what it shows."""

from pathlib import Path

import av
from PIL import Image

from connectors.errors import InvalidMedia

SUFFIXES = frozenset({".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi"})


def frame(path: Path, seconds: float | None = None) -> Image.Image:
    """The frame shown at `seconds`, or in the middle; the last one where the video ends before.

    Raises `InvalidMedia` if the file cannot be decoded or holds no picture, `OSError` if not read.
    """
    try:
        # The demuxer is opened on a file object: FFmpeg then follows no other file or address.
        with path.open("rb") as file, av.open(file, "r") as container:
            if not container.streams.video:
                raise InvalidMedia(f"{path} has no video track")
            track = container.streams.video[0]
            if seconds is None:
                seconds = (container.duration or 0) / av.time_base / 2
            container.seek(int(seconds * av.time_base))  # to the key frame before it
            shown = None
            for decoded in container.decode(track):
                if shown is not None and decoded.time is not None and decoded.time > seconds:
                    break
                shown = decoded
            if shown is None:
                raise InvalidMedia(f"{path} holds no picture")
            return Image.fromarray(shown.to_ndarray(format="rgb24"))
    except av.FFmpegError as error:
        if isinstance(error, OSError) and error.errno and not isinstance(error, ValueError):
            raise
        raise InvalidMedia(f"{path} is not a readable video: {error}") from error

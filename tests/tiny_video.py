"""A real, very small video, for readers of benchmarks that are made of videos."""

from pathlib import Path

import av
import numpy as np


def write_video(path: Path) -> None:
    """Four seconds with sound, at 5 frames a second, each second of another brightness."""
    with av.open(str(path), "w") as container:
        picture = container.add_stream("mpeg4", rate=5)
        picture.width = picture.height = 64
        picture.pix_fmt = "yuv420p"
        track = container.add_stream("aac", rate=48_000)
        for number in range(20):
            shade = np.full((64, 64, 3), 40 + 50 * (number // 5), dtype=np.uint8)
            container.mux(picture.encode(av.VideoFrame.from_ndarray(shade, format="rgb24")))
        container.mux(picture.encode(None))
        for number in range(188):  # 1,024 samples each
            noise = np.random.default_rng(number).normal(scale=0.1, size=(1, 1024)).astype(np.float32)
            samples = av.AudioFrame.from_ndarray(noise, format="fltp", layout="mono")
            samples.sample_rate, samples.pts = 48_000, 1024 * number
            container.mux(track.encode(samples))
        container.mux(track.encode(None))

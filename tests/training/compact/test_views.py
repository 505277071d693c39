import numpy as np
from PIL import Image

from connectors.encoders.compact.sound_patches import BANDS, FRAMES, PATCH, cut_patches, log_mel
from training.compact.picture_views import flatten, is_opaque, picture_view
from training.compact.shape_training import shape_view
from training.compact.sound_views import clip_frames, sound_view
from training.compact.teachers import FRAME


def pictures() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    photo = Image.fromarray(rng.integers(0, 255, (90, 120, 3), dtype=np.uint8)).convert("RGBA")
    sticker = Image.new("RGBA", (80, 80), (0, 0, 0, 0))
    sticker.paste((255, 0, 0, 255), (20, 20, 60, 60))
    return [photo, sticker]


def test_picture_views_are_drawn_from_the_seed_alone() -> None:
    for index in (0, 1):
        views = [picture_view(pictures(), index, 64, np.random.default_rng((7, k))) for k in range(24)]
        again = [picture_view(pictures(), index, 64, np.random.default_rng((7, k))) for k in range(24)]
        assert all(v.shape == (64, 64, 3) and v.dtype == np.uint8 for v in views)
        assert all(np.array_equal(a, b) for a, b in zip(views, again, strict=True))
        assert len({v.tobytes() for v in views}) == 24


def test_transparent_pictures_are_laid_on_white() -> None:
    photo, sticker = pictures()
    assert is_opaque(photo) and not is_opaque(sticker)
    assert flatten(sticker).getpixel((0, 0)) == (255, 255, 255)
    assert flatten(sticker).getpixel((40, 40)) == (255, 0, 0)


def test_sound_views_have_the_teachers_length_and_range() -> None:
    rng = np.random.default_rng(0)
    clips = [rng.normal(0, 0.1, n).astype(np.float32) for n in (800, 40_000)]
    for k in range(60):
        view = sound_view(clips, k % 2, np.random.default_rng((3, k)))
        assert view.shape == (FRAME,) and view.dtype == np.float32
        assert np.isfinite(view).all() and np.abs(view).max() <= 1
        assert np.array_equal(view, sound_view(clips, k % 2, np.random.default_rng((3, k))))


def test_frames_leave_silence_out() -> None:
    wave = np.zeros(10 * FRAME, dtype=np.float32)
    wave[4 * FRAME : 5 * FRAME] = 0.3
    assert len(clip_frames(wave)) == 3
    assert len(clip_frames(np.full(100, 0.1, dtype=np.float32))) == 1


def test_a_tone_lights_its_own_mel_band() -> None:
    import torch

    t = torch.arange(PATCH) / 16_000
    mel = log_mel(torch.stack([torch.sin(2 * torch.pi * f * t) for f in (300.0, 3000.0)]))
    assert mel.shape == (2, FRAMES, BANDS)
    low, high = mel.mean(dim=1).argmax(dim=1).tolist()
    assert low < 15 < 35 < high
    assert cut_patches(torch.zeros(10)).shape == (1, PATCH)


def test_shape_views_are_prepared_clouds() -> None:
    cloud = np.random.default_rng(0).normal(size=(2048, 3)).astype(np.float32)
    for k in range(20):
        view = shape_view(cloud, np.random.default_rng(k))
        assert view.shape == (1, 1024, 3)
        assert abs(float(view.norm(dim=2).max()) - 1) < 1e-4

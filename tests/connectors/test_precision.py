"""Settings of device and number format are checked, and what is chosen keeps the vectors."""

import json

import pytest
import torch
from PIL import Image

from connectors.encoders.open_clip import load
from connectors.errors import ConfigError
from connectors.precision import choose_device, choose_dtype, place, warm_up
from connectors.torchvision_operators import declare_missing_operators

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
TEXTS = ["a dog", "rain on a tin roof at night", "x"]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """A small CLIP with random weights."""
    declare_missing_operators()
    import open_clip

    folder = tmp_path_factory.mktemp("precision")
    text = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2}
    vision = {"image_size": 64, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16}
    config = {"embed_dim": 64, "vision_cfg": vision, "text_cfg": text}
    (folder / "precision-model.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder)
    torch.manual_seed(0)
    torch.save(open_clip.CLIP(**config).state_dict(), folder / "c.pt")

    def make():
        return load("precision-model", folder / "c.pt")

    return make


def test_auto_takes_what_is_there():
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert choose_dtype("auto", CUDA) == "float16"
    assert choose_dtype("auto", CPU) in ("bfloat16", "float32")
    assert choose_dtype("bf16", CPU) == "bfloat16"


@pytest.mark.parametrize(
    ("dtype", "device", "why"),
    [
        ("float16", CPU, "CUDA"),
        ("int8", CUDA, "CPU"),
        ("float8", CPU, "not one of"),
    ],
)
def test_formats_a_device_cannot_run_are_refused(dtype, device, why):
    with pytest.raises(ConfigError, match=why):
        choose_dtype(dtype, device)


@pytest.mark.parametrize("device", ["cuda:99", "gpu"])
def test_devices_that_are_not_there_are_refused(device):
    with pytest.raises(ConfigError, match="device"):
        choose_device(device)


@pytest.mark.parametrize("dtype", ["bfloat16", "int8", "auto"])
def test_reduced_formats_keep_the_vectors(encoder, dtype):
    exact, reduced = encoder(), encoder()
    place(reduced, dtype=dtype)
    for modality, media in (("text", TEXTS),):
        vectors = reduced.encode(media, modality)
        assert vectors.dtype == torch.float32
        assert ((vectors * exact.encode(media, modality)).sum(dim=1) >= 0.999).all()
    assert reduced.fingerprint == exact.fingerprint


def test_bf16_weights_stay_trainable_for_speed(encoder):
    """torch takes a path ten times slower for bf16 attention whose weights need no gradient."""
    reduced = encoder()
    place(reduced, dtype="bfloat16")
    assert all(weight.requires_grad and weight.dtype == torch.bfloat16 for weight in reduced.parameters())


def test_channels_last_lays_convolutions_out_anew_and_keeps_the_vectors(encoder):
    plain, laid_out = encoder(), encoder()
    place(laid_out, channels_last=True)
    convolutions = [m for m in laid_out.modules() if isinstance(m, torch.nn.Conv2d)]
    assert convolutions
    assert all(m.weight.is_contiguous(memory_format=torch.channels_last) for m in convolutions)
    picture = [Image.effect_noise((64, 64), 80).convert("RGB")]
    cosine = (plain.encode(picture, "image") * laid_out.encode(picture, "image")).sum()
    assert cosine > 0.99999


def test_an_encoder_of_float32_alone_says_so(encoder):
    fixed = encoder()
    fixed.reducible = False
    with pytest.raises(ConfigError, match="float32 only"):
        place(fixed, dtype="bfloat16")
    place(fixed, dtype="auto")
    assert next(fixed.parameters()).dtype == torch.float32


def test_an_encoder_that_int8_would_move_stays_in_float32(encoder):
    exact, fixed = encoder(), encoder()
    fixed.quantisable = lambda: ()
    place(fixed, dtype="int8")
    assert torch.allclose(fixed.encode(TEXTS, "text"), exact.encode(TEXTS, "text"), atol=1e-5)


def test_warming_up_runs_every_modality_in_every_batch_size(encoder):
    seen = []
    warmed = encoder()
    run = warmed.encode_prepared
    warmed.encode_prepared = lambda batch: seen.append((batch[0].modality, len(batch))) or run(batch)
    warm_up(warmed, (1, 3))
    assert seen == [("text", 1), ("text", 3), ("image", 1), ("image", 3)]

"""Where and in which number format an encoder runs.

Given the settings `device` and `dtype` (each may be "auto"), moves an encoder there; `warm_up` runs
it once in the shapes it will meet, so that the first user waits no longer than the tenth. On a CPU
with bf16 instructions "auto" is bf16: the fastest format whose vectors keep a cosine of 0.999 to
float32 (measured in docs/encoders.md).
"""

import warnings
from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

import numpy as np
import torch
from PIL import Image
from torch import nn

from connectors.encoder import Encoder, TowerEncoder
from connectors.errors import ConfigError
from connectors.modality import SAMPLE_RATE, Media, Modality
from connectors.packed_linear import can_pack, pack

Dtype: TypeAlias = Literal["auto", "float32", "bfloat16", "float16", "int8"]

_FLOATS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_SHORT_NAMES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}


def choose_device(device: str) -> torch.device:
    """The device meant; "auto" is the first CUDA device where there is one, else the CPU.

    Raises `ConfigError` for one that is not there.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise ConfigError(f"device {device!r} is not known: use auto, cpu or cuda:N") from error
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"device {device!r} is not there: torch sees {torch.cuda.device_count()}")
    return chosen


def choose_dtype(dtype: str, device: torch.device) -> Dtype:
    """The number format meant; "auto" is fp16 on CUDA, bf16 on CPUs that compute in it, else fp32.

    Raises `ConfigError` for one the device cannot run.
    """
    name = _SHORT_NAMES.get(dtype, dtype)
    if name not in get_args(Dtype):
        raise ConfigError(f"dtype {dtype!r} is not one of {', '.join(get_args(Dtype))}")
    if name == "auto":
        if device.type == "cuda":
            return "float16"
        return "bfloat16" if device.type == "cpu" and _cpu_computes_bf16() else "float32"
    if name == "float16" and device.type == "cpu":
        raise ConfigError("float16 runs on CUDA; on a CPU use bfloat16, int8 or auto")
    if name == "int8" and device.type != "cpu":
        raise ConfigError("int8 runs on the CPU; on CUDA use float16, bfloat16 or auto")
    return name  # type: ignore[return-value]


def _cpu_computes_bf16() -> bool:
    found = torch.cpu.get_capabilities()
    return bool(found.get("avx512_bf16") or found.get("amx_bf16") or found.get("arm_bf16"))


def place(
    encoder: TowerEncoder,
    *,
    device: str = "cpu",
    dtype: str = "float32",
    compiled: bool = False,
    channels_last: bool = False,
) -> None:
    """Move an encoder to a device and into a number format, in place.

    An encoder that is not `reducible` stays in float32 under "auto" and is a `ConfigError` under any
    other format; under "int8" what is not `quantisable` of it stays in float32. `compiled` hands the
    network to torch.compile, which pays on CUDA only; otherwise linear layers are packed on a CPU, after
    which the encoder cannot be placed again. `channels_last` lays the weights of convolutions out
    as CUDA's and oneDNN's half-precision kernels want them, and changes no value.
    """
    target = choose_device(device)
    chosen = choose_dtype(dtype, target)
    if chosen != "float32" and not encoder.reducible:
        if dtype != "auto":
            raise ConfigError(f"encoder {encoder.name} runs in float32 only, not in {chosen}")
        chosen = "float32"
    if chosen == "int8":
        for part in encoder.quantisable():
            _quantize(part)
    else:
        encoder.to(target, _FLOATS[chosen])
    if channels_last:
        encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if target.type == "cpu" and not compiled and can_pack():
        for part in encoder.packable():
            pack(part)
    if compiled:
        encoder.embed_rows = torch.compile(encoder.embed_rows, dynamic=True)  # type: ignore[method-assign]


def _quantize(part: nn.Module) -> None:
    """int8 weights and dynamically quantised activations for every linear layer."""
    with warnings.catch_warnings():
        # Announced as moving to another package since torch 2.8, and still the only dynamic int8
        # inside torch.
        warnings.simplefilter("ignore")
        quantize = torch.ao.quantization.quantize_dynamic
        quantize(part, {nn.Linear}, dtype=torch.qint8, inplace=True)  # type: ignore[no-untyped-call]


def warm_up(encoder: Encoder, batch_sizes: Sequence[int] = (1, 2, 8)) -> None:
    """Embed a sample of every modality the encoder has, in batches of these sizes.

    The first pass of a shape reads weights from disk, picks kernels and fills allocators.
    """
    for modality in encoder.modalities:
        prepared = [encoder.prepare(media, modality) for media in _samples(modality)]
        for size in batch_sizes if prepared else ():
            encoder.encode_prepared([prepared[i % len(prepared)] for i in range(size)])


def _samples(modality: Modality) -> list[Media]:
    """Return one or two small media of a modality; none of one that is not known here."""
    noise = np.random.default_rng(0)
    match modality:
        case "text":
            return ["a dog", "a dog that barks at the postman behind the garden fence"]
        case "image":
            return [Image.new("RGB", (256, 256), "grey")]
        case "audio":
            return [noise.normal(0, 0.1, SAMPLE_RATE).astype(np.float32)]
        case "point_cloud":
            return [noise.normal(0, 1, (8192, 3)).astype(np.float32)]
    return []

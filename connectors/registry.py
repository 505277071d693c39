"""Encoders by name. A name is `family/model`: `open_clip/ViT-B-32-quickgelu`, `compact/clap`.

A family is a module with a `load(model, weights, **options) -> TowerEncoder` function; it is imported only
when one of its names is asked for, since each pulls in libraries of its own.
"""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from connectors.encoder import Encoder, TowerEncoder
from connectors.errors import ConfigError
from connectors.precision import place

FAMILIES: Mapping[str, str] = {
    "compact": "connectors.encoders.compact",
    "open_clip": "connectors.encoders.open_clip",
    "laion_clap": "connectors.encoders.laion_clap",
    "ulip": "connectors.encoders.pointbert",
}


def load_encoder(
    name: str,
    weights: str | Path | None = None,
    *,
    device: str = "cpu",
    dtype: str = "float32",
    compiled: bool = False,
    channels_last: bool = False,
    **options: Any,
) -> Encoder:
    """Load a frozen encoder by name, from a local path or, where its family allows, a hub id.

    `device`, `dtype`, `compiled` and `channels_last` are those of `connectors.precision.place`; other
    options are the family's own (`towers`, `sha256`, `roberta`, ...). Raises `ConfigError` for a name
    that is not known, `MissingFiles`, `IntegrityError` or `CheckpointError` for weights that cannot be used.
    """
    family, _, model = name.partition("/")
    if family not in FAMILIES or not model:
        known = ", ".join(f"{key}/..." for key in FAMILIES)
        raise ConfigError(f"unknown encoder {name!r}; encoders are named {known}")
    encoder: TowerEncoder = import_module(FAMILIES[family]).load(model, weights, **options)
    place(encoder, device=device, dtype=dtype, compiled=compiled, channels_last=channels_last)
    return encoder

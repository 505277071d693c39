"""An encoder family for the registry, so that commands can be run without any weights."""

from typing import Any

from tiny_encoder import TinyEncoder


def load(model: str, weights: Any = None, **options: Any) -> TinyEncoder:
    return TinyEncoder(seed=int(model))

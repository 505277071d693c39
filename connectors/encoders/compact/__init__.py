"""The compact encoders: small towers trained by `make train-compact`, shipped with the package.

`compact/clip` embeds text and image, `compact/clap` text and audio, `compact/ulip` point clouds, images
and text. `load` is what the registry calls.
"""

from collections.abc import Sequence
from pathlib import Path

from connectors.encoders.compact.encoder import CompactConfig, CompactEncoder, load_compact
from connectors.modality import Modality

SHIPPED = Path(__file__).parents[2] / "bundles" / "compact" / "encoders"

__all__ = ["CompactConfig", "CompactEncoder", "load", "load_compact"]


def load(
    model: str,
    weights: str | Path | None = None,
    *,
    towers: Sequence[Modality] | None = None,
    device: str = "cpu",
) -> CompactEncoder:
    """Load `compact/<model>`: from a space's directory, or the shipped one where none is given."""
    return load_compact(Path(weights) if weights else SHIPPED / model, towers, device)

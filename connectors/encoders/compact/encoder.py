"""A compact space: up to two or three towers, each a trunk with a small head, read from the bundle.

Given the space's directory (`config.json` and weights) and the towers wanted, it gives back an
`Encoder`. A trunk may be shared between spaces: `config.json` names each file and its sha256, and the
fingerprint covers all of them, whichever towers are loaded.
"""

import hashlib
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors.torch import load as parse_safetensors
from torch import Tensor, nn

from connectors.encoder import Prepared, TowerEncoder
from connectors.encoders.compact.conv_layers import folded
from connectors.encoders.compact.mobile_trunk import MobileTrunk
from connectors.encoders.compact.shape_trunk import ShapeTrunk, prepare_points
from connectors.encoders.compact.sound_patches import prepare_sound
from connectors.encoders.compact.sound_trunk import SoundTrunk
from connectors.encoders.compact.word_tower import (
    WordTrunk,
    make_tokenizer,
    pad_ids,
    read_vocabulary,
    tokens_of,
)
from connectors.encoders.known_words import KnownWords
from connectors.errors import (
    CheckpointError,
    ConfigError,
    IntegrityError,
    InvalidMedia,
    MissingFiles,
)
from connectors.modality import Media, Modality

CONFIG_FILE = "config.json"
PICTURE_SIDE = 192
TRUNKS: dict[Modality, type[nn.Module]] = {
    "text": WordTrunk,
    "image": MobileTrunk,
    "audio": SoundTrunk,
    "point_cloud": ShapeTrunk,
}


class TowerConfig(BaseModel):
    """One tower: constructor arguments and files (relative to the config) of trunk and head."""

    model_config = ConfigDict(extra="forbid")

    trunk: dict[str, Any]
    trunk_file: str
    head: list[int]
    head_file: str | None = None
    vocabulary_file: str | None = None


class CompactConfig(BaseModel):
    """The content of a compact space's `config.json`. `head` lists layer widths; empty: no head."""

    model_config = ConfigDict(extra="forbid")

    format: Literal["isthmus.compact/1"] = "isthmus.compact/1"
    space: str
    dim: int
    towers: dict[Modality, TowerConfig]
    sha256: dict[str, str]


class Tower(nn.Module):
    """A trunk and its head."""

    def __init__(self, trunk: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.trunk, self.head = trunk, head

    def forward(self, rows: Tensor) -> Tensor:
        """Prepared rows -> [n, dim]."""
        out: Tensor = self.head(self.trunk(rows))
        return out


def make_head(widths: Sequence[int]) -> nn.Sequential:
    """Linear layers of the given widths with GELU between; the identity where there are none."""
    layers: list[nn.Module] = []
    for dim_in, dim_out in itertools.pairwise(widths):
        layers += [nn.Linear(dim_in, dim_out), nn.GELU()]
    return nn.Sequential(*layers[:-1])


def prepare_picture(image: Image.Image) -> Tensor:
    """An RGB picture -> [1, 3, 192, 192] in -1..1: shortest side to 192, then the centre square."""
    width, height = image.size
    if min(width, height) < 1:
        raise InvalidMedia("the picture has no pixels")
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    size = (PICTURE_SIDE, PICTURE_SIDE)
    square = image.convert("RGB").resize(
        size, Image.Resampling.BILINEAR, box=(left, top, left + side, top + side), reducing_gap=3.0
    )
    pixels = torch.from_numpy(np.array(square, dtype=np.float32)).permute(2, 0, 1)
    return (pixels / 127.5 - 1.0)[None]


class CompactEncoder(TowerEncoder):
    """One compact space, with the towers that were asked for."""

    def __init__(
        self,
        space: str,
        towers: dict[Modality, Tower],
        dim: int,
        fingerprint: str,
        vocabulary: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.name = f"compact/{space}"
        self.modalities = tuple(towers)
        self.dim = dim
        self.fingerprint = fingerprint
        self.towers = nn.ModuleDict({str(name): tower for name, tower in towers.items()})
        self._tokenizer = make_tokenizer(vocabulary) if vocabulary else None
        self._words = KnownWords({word: k for k, word in enumerate(vocabulary)}, special=(0, 1))
        self.eval()

    def prepare(self, media: Media, modality: Modality | None = None) -> Prepared:
        """See `Encoder.prepare`."""
        tower = self.resolve(modality)
        if tower == "text" and isinstance(media, str) and self._tokenizer is not None:
            if not media.strip():
                raise InvalidMedia("the text is empty")
            ids, given = tokens_of(self._tokenizer, media)
            lost = given if given > len(ids) else None
            rows = torch.from_numpy(np.array([ids], dtype=np.int64))
            return Prepared(tower, rows, len(ids), lost, self._words.any_in(ids))
        if tower == "image" and isinstance(media, Image.Image):
            return Prepared(tower, prepare_picture(media), 1)
        if tower == "audio" and isinstance(media, np.ndarray):
            rows = prepare_sound(media)
            return Prepared(tower, rows, rows.shape[2])
        if tower == "point_cloud" and isinstance(media, np.ndarray):
            rows = prepare_points(media)
            return Prepared(tower, rows, rows.shape[1])
        raise InvalidMedia(f"{self.name} cannot embed a {type(media).__name__} as {tower}")

    def collate(self, modality: Modality, rows: Sequence[Tensor]) -> Tensor:
        """Join rows; texts are padded to the longest."""
        if modality != "text":
            return torch.cat(list(rows))
        return pad_ids([row[0].tolist() for row in rows])

    def embed_rows(self, modality: Modality, rows: Tensor) -> Tensor:
        """See `TowerEncoder.embed_rows`."""
        out: Tensor = self.towers[modality](rows)
        return out


def load_compact(
    directory: Path | str, towers: Sequence[Modality] | None = None, device: str = "cpu"
) -> CompactEncoder:
    """Load a compact space from its directory, with the given towers (all by default).

    Raises `MissingFiles`, `IntegrityError` (a file is not the one its config names),
    `CheckpointError` (weights that do not fit) or `ConfigError` (no such tower, bad config).
    """
    root = Path(directory)
    path = root / CONFIG_FILE
    if not path.is_file():
        raise MissingFiles(f"{path} not found: it describes a compact space; see `make train-compact`")
    data = path.read_bytes()
    try:
        config = CompactConfig.model_validate_json(data)
    except ValidationError as error:
        raise ConfigError(f"{path}: {error}") from error
    wanted = tuple(config.towers) if towers is None else tuple(towers)
    unknown = [name for name in wanted if name not in config.towers]
    if unknown:
        raise ConfigError(f"{path} has towers {list(config.towers)}, not {unknown}")
    vocabulary: list[str] = []
    built: dict[Modality, Tower] = {}
    for name in wanted:
        tower = config.towers[name]
        try:
            built[name] = Tower(TRUNKS[name](**tower.trunk), make_head(tower.head))
        except TypeError as error:
            raise ConfigError(f"{path}, tower {name}: {error}") from error
        _fill(built[name].trunk, root, tower.trunk_file, config)
        folded(built[name].trunk)
        if tower.head_file:
            _fill(built[name].head, root, tower.head_file, config)
        if tower.vocabulary_file:
            _verified(root, tower.vocabulary_file, config)
            vocabulary = read_vocabulary(root / tower.vocabulary_file)
    fingerprint = "sha256:" + hashlib.sha256(data).hexdigest()
    encoder = CompactEncoder(config.space, built, config.dim, fingerprint, vocabulary)
    return encoder.to(device)


def _verified(root: Path, name: str, config: CompactConfig) -> bytes:
    file = root / name
    if not file.is_file():
        raise MissingFiles(f"{file} not found: {root / CONFIG_FILE} names it")
    data = file.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if digest != config.sha256.get(name):
        raise IntegrityError(f"{file} has sha256 {digest}, not the one {root / CONFIG_FILE} names")
    return data


def _fill(module: nn.Module, root: Path, name: str, config: CompactConfig) -> None:
    state = parse_safetensors(_verified(root, name, config))
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(f"{root / name} does not fit its config: {error}") from error


def config_bytes(config: CompactConfig) -> bytes:
    """The one way a config is written."""
    return (json.dumps(config.model_dump(mode="json"), indent=2) + "\n").encode()

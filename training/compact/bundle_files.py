"""The compact bundle's files: weights in fp16 with a config a space, and the manifest that ties them.

Given a workshop whose steps are done, it writes `encoders/` (shared trunks, heads, configs), and later
`bundle.toml` and `manifest.json` with the data's hash, times, figures and the sha256 of every file.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import load_file
from safetensors.torch import save as serialise_safetensors
from torch import Tensor

from connectors.encoders.compact.encoder import (
    CONFIG_FILE,
    CompactConfig,
    TowerConfig,
    config_bytes,
)
from connectors.errors import ConfigError, MissingFiles
from connectors.modality import Modality
from training.compact.plan import DIM, PICTURE_TRUNK, SHAPE_TRUNK, SOUND_TRUNK, WORD_TRUNK, Plan
from training.compact.spaces import HEADS
from training.compact.workshop import Workshop

MANIFEST = "manifest.json"
BUNDLE_TOML = """\
# The compact bundle: small encoders trained by `make train-compact`, and connectors between them.
format = "isthmus.bundle/1"
name = "compact"
description = "Small encoders for CPUs, trained from scratch on openly licensed data"
default = "exmcr"
calibration = "calibration.json"

[serve]
text = "clip"
image = "clip"
audio = "clap"
point_cloud = "ulip"

[encoders.clip]
name = "compact/clip"
weights = "encoders/clip"

[encoders.clap]
name = "compact/clap"
weights = "encoders/clap"

[encoders.ulip]
name = "compact/ulip"
weights = "encoders/ulip"

[connectors]
exmcr = ["connectors/exmcr-clap", "connectors/exmcr-ulip"]
cmcr = ["connectors/cmcr-clap"]
"""


def sha256(data: bytes) -> str:
    """Hex digest."""
    return hashlib.sha256(data).hexdigest()


def half(state: Mapping[str, Tensor]) -> bytes:
    """Weights as fp16 safetensors (whole numbers, such as batch counts, as they are)."""
    return serialise_safetensors({key: v.half() if v.is_floating_point() else v for key, v in state.items()})


def part(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The weights below a prefix, without it."""
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def write_encoders(shop: Workshop, output: Path) -> None:
    """Write `encoders/`: shared trunks of words and pictures, and a directory a space."""
    root = output / "encoders"
    clap, ulip = load_file(shop.work / "clap.safetensors"), load_file(shop.work / "ulip.safetensors")
    vocabulary = (shop.work / "vocabulary.txt").read_bytes()
    files = {
        "shared/vocabulary.txt": vocabulary,
        "shared/words.safetensors": half(load_file(shop.work / "words.safetensors")),
        "shared/pictures.safetensors": half(load_file(shop.work / "pictures-refined.safetensors")),
        "clip/image.safetensors": half(load_file(shop.work / "clip-image.safetensors")),
        "clap/trunk.safetensors": half(load_file(shop.work / "sounds-refined.safetensors")),
        "clap/audio.safetensors": half(part(clap, "audio.")),
        "clap/text.safetensors": half(part(clap, "text.")),
        "ulip/trunk.safetensors": half(part(ulip, "point_cloud.trunk.")),
        "ulip/point_cloud.safetensors": half(part(ulip, "point_cloud.head.")),
        "ulip/image.safetensors": half(part(ulip, "image.")),
        "ulip/text.safetensors": half(part(ulip, "text.")),
    }
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    tokens = len(vocabulary.splitlines())
    towers: dict[str, dict[Modality, TowerConfig]] = {
        "clip": {"text": _words(tokens, [], None), "image": _pictures("clip")},
        "clap": {
            "text": _words(tokens, HEADS["clap-text"], "text.safetensors"),
            "audio": TowerConfig(
                trunk=SOUND_TRUNK,
                trunk_file="trunk.safetensors",
                head=HEADS["clap-audio"],
                head_file="audio.safetensors",
            ),
        },
        "ulip": {
            "text": _words(tokens, HEADS["ulip-text"], "text.safetensors"),
            "image": _pictures("ulip"),
            "point_cloud": TowerConfig(
                trunk=dict(SHAPE_TRUNK),
                trunk_file="trunk.safetensors",
                head=HEADS["ulip-point_cloud"],
                head_file="point_cloud.safetensors",
            ),
        },
    }
    for space, described in towers.items():
        named = [
            name
            for tower in described.values()
            for name in (tower.trunk_file, tower.head_file, tower.vocabulary_file)
            if name
        ]
        digests = {
            name: sha256(files[name.removeprefix("../") if name.startswith("../") else f"{space}/{name}"])
            for name in sorted(set(named))
        }
        config = CompactConfig(space=space, dim=DIM, towers=described, sha256=digests)
        (root / space / CONFIG_FILE).write_bytes(config_bytes(config))


def _words(tokens: int, head: list[int], head_file: str | None) -> TowerConfig:
    return TowerConfig(
        trunk={"tokens": tokens, **WORD_TRUNK},
        trunk_file="../shared/words.safetensors",
        vocabulary_file="../shared/vocabulary.txt",
        head=head,
        head_file=head_file,
    )


def _pictures(space: str) -> TowerConfig:
    return TowerConfig(
        trunk=PICTURE_TRUNK,
        trunk_file="../shared/pictures.safetensors",
        head=HEADS[f"{space}-image"],
        head_file="image.safetensors",
    )


def data_hash(data: Path) -> str:
    """sha256 over the names and bytes of every file the build reads, in order of name."""
    digest = hashlib.sha256()
    for path in sorted(p for p in data.rglob("*") if p.is_file()):
        digest.update(f"{path.relative_to(data).as_posix()}\n".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def steps_of(output: Path, plan: Plan) -> Mapping[str, object]:
    """The training steps of the bundle there is, by its manifest.

    Raises `MissingFiles` where there is none, `ConfigError` where it was made by another plan.
    """
    path = output / MANIFEST
    if not path.is_file():
        raise MissingFiles(f"{path} is missing: train the encoders first, without --connect")
    manifest = json.loads(path.read_text(encoding="utf-8"))
    if manifest["plan"] != json.loads(json.dumps(asdict(plan))):
        raise ConfigError(f"the encoders in {output} were trained by another plan: train them anew")
    steps: Mapping[str, object] = manifest["steps"]
    return steps


def write_manifest(
    shop: Workshop, output: Path, metrics: Mapping[str, object], steps: Mapping[str, object]
) -> None:
    """Write `bundle.toml` and `manifest.json`; the latter lists every other file's sha256.

    `steps`: what each training step took.
    """
    (output / "bundle.toml").write_text(BUNDLE_TOML, encoding="utf-8")
    path = output / MANIFEST
    listed = [p for p in sorted(output.rglob("*")) if p.is_file() and p != path]
    manifest = {
        "format": "isthmus.compact-build/1",
        "command": "python -m training.compact --data DIR --output connectors/bundles/compact",
        "data_sha256": data_hash(shop.data),
        "plan": shop.describe(),
        "torch": torch.__version__,
        "steps": dict(steps),
        "metrics": dict(metrics),
        "bytes": sum(p.stat().st_size for p in listed),
        "sha256": {p.relative_to(output).as_posix(): sha256(p.read_bytes()) for p in listed},
    }
    path.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")

"""Making a bundle of full-size encoders, and checking any bundle.

Given where the published weights are and which connectors to serve, writes the directory that
`load_bundle` reads, after loading every part once: what a bundle was built from works. Weights stay
where they are, named by path or hub id and, for files, by sha256; connectors are copied.
"""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from connectors.bundle import (
    BUNDLE_FILE,
    SHIPPED,
    BundleManifest,
    EncoderEntry,
    bundle_directory,
    load_bundle,
    read_manifest,
)
from connectors.checkpoint import file_sha256
from connectors.connector import MANIFEST_FILE, WEIGHTS_FILE, load_connector
from connectors.encoder import Encoder
from connectors.errors import ConfigError, IsthmusError, MissingFiles
from connectors.modality import Modality
from connectors.registry import FAMILIES, load_encoder
from connectors.staged_directory import staged_directory
from connectors.weights import HUB_PREFIX, Absent, Download, missing_files

SERVES: Mapping[str, tuple[Modality, ...]] = {
    "clip": ("text", "image"),
    "clap": ("audio",),
    "ulip": ("point_cloud",),
}
"""The modalities each space serves in a bundle of full-size encoders."""

_FUSION_CLAP = Download(
    "the CLAP checkpoint 630k-fusion-best.pt, on which the authors' ex_clap.pt was trained",
    "https://huggingface.co/lukewys/laion_clap/resolve/main/630k-fusion-best.pt",
)
_AUTHORS_HEADS = {
    name: Download(
        f"the authors' Ex-MCR head {name}.pt, made a connector by `isthmus connectors import {name}.pt`",
        f"https://github.com/MCR-PEFT/Ex-MCR (checkpoints/{name}.pt)",
    )
    for name in ("ex_clap", "ex_ulip")
}


@dataclass(frozen=True, slots=True)
class EncoderSource:
    """An encoder of a bundle: its name in the registry, and its weights (None: not given)."""

    name: str
    weights: str | None


def build_bundle(
    name: str,
    sources: Mapping[str, EncoderSource],
    connectors: Sequence[Path],
    output: Path,
    *,
    dtype: str = "auto",
    description: str = "",
) -> BundleManifest:
    """Write a bundle as `output`, whole or not at all, from encoders by space and connectors.

    Raises `MissingFiles` that lists everything absent at once, and what loading any part raises:
    `CheckpointError`, `IntegrityError`, `FingerprintMismatch`, `ConfigError`.
    """
    unknown = [space for space in sources if space not in SERVES]
    if unknown or "clip" not in sources:
        raise ConfigError(f"a bundle has the spaces clip and, if wanted, clap and ulip, not {list(sources)}")
    _require(sources, connectors)
    manifests = [load_connector(path).manifest for path in connectors]
    encoders = {
        space: load_encoder(source.name, source.weights, towers=SERVES[space])
        for space, source in sources.items()
    }
    entries = {
        space: EncoderEntry(name=source.name, **_reference(str(source.weights)))
        for space, source in sources.items()
    }
    method = manifests[0].method
    places = {f"connectors/{path.resolve().name}": path for path in connectors}
    if len(places) < len(connectors):
        raise ConfigError("connectors of one bundle need folders of different names")
    manifest = BundleManifest(
        format="isthmus.bundle/1",
        name=name,
        description=description,
        default=method,
        dtype=dtype,
        serve={modality: space for space in sources for modality in SERVES[space]},
        encoders=entries,
        connectors={method: list(places)},
    )
    with staged_directory(output) as staging:
        for place, path in places.items():
            (staging / place).mkdir(parents=True)
            for file in (MANIFEST_FILE, WEIGHTS_FILE):
                shutil.copyfile(path / file, staging / place / file)
        (staging / BUNDLE_FILE).write_text(to_toml(manifest), encoding="utf-8")
        _check_space(staging, encoders)
    return manifest


def _check_space(directory: Path, encoders: Mapping[str, Encoder]) -> None:
    """Build the unified space of a bundle from encoders that are loaded already."""
    from connectors.calibration import Calibration
    from connectors.space import UnifiedSpace

    manifest = read_manifest(directory)
    UnifiedSpace(
        name=manifest.name,
        encoders=encoders,
        serve=manifest.serve,
        connectors=[load_connector(directory / path) for path in manifest.connectors[manifest.default]],
        calibration=Calibration.none(),
    )


def _reference(weights: str) -> dict[str, str]:
    path = Path(weights).expanduser()
    if path.is_file():
        return {"weights": str(path.resolve()), "sha256": file_sha256(path)}
    return {"weights": str(path.resolve()) if path.is_dir() else weights}


def _require(sources: Mapping[str, EncoderSource], connectors: Sequence[Path]) -> None:
    """Raise `MissingFiles` with everything that is not there."""
    absent = []
    for space, source in sources.items():
        weights = source.weights
        if weights is not None and (weights.startswith(HUB_PREFIX) or Path(weights).expanduser().exists()):
            continue
        if weights is not None and space == "clip" and not {"/", "."} & set(weights):
            continue  # a tag of open_clip's, such as `openai`
        download = _published(source.name)
        place = str(Path(weights).absolute()) if weights else f"any path, and pass --{space} PATH"
        absent.append(Absent(place, download))
    absent += [
        Absent(str(path.absolute()), Download("a connector (a folder with manifest.json)", "isthmus train"))
        for path in connectors
        if not (path / MANIFEST_FILE).is_file()
    ]
    if not connectors:
        leaves = [f"ex_{space}" for space in sources if space != "clip"]
        absent += [Absent("any path, and pass --connector DIR", _AUTHORS_HEADS[leaf]) for leaf in leaves]
    if absent:
        raise missing_files(absent)
    if not connectors:
        raise ConfigError("a bundle needs at least one --connector")


def _published(name: str) -> Download:
    family, _, model = name.partition("/")
    if family not in FAMILIES:
        raise ConfigError(f"unknown encoder {name!r}; families are {', '.join(FAMILIES)}")
    if name == "laion_clap/HTSAT-tiny":
        return _FUSION_CLAP
    try:
        found: Download = import_module(FAMILIES[family]).published_weights(model)
    except (KeyError, AttributeError) as error:
        raise ConfigError(f"no weights of {name!r} are published; is the name right?") from error
    return found


def to_toml(manifest: BundleManifest) -> str:
    """A manifest as `bundle.toml` holds it."""
    fields = manifest.model_dump(mode="json", exclude_none=True, exclude_defaults=False)
    lines = [f"{key} = {_value(value)}" for key, value in fields.items() if not isinstance(value, dict)]
    for key in ("serve", "connectors"):
        lines += ["", f"[{key}]", *(f"{_value(k)} = {_value(v)}" for k, v in fields[key].items())]
    for space, entry in fields["encoders"].items():
        lines += ["", f"[encoders.{space}]", *(f"{k} = {_value(v)}" for k, v in entry.items() if v != {})]
    return "\n".join(lines) + "\n"


def _value(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_value(k)} = {_value(v)}" for k, v in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)


def verify_bundle(name: str | Path) -> list[tuple[str, str]]:
    """Check everything a bundle is made of; returns what was checked, as (part, finding).

    Files first, all absent ones in one `MissingFiles`; then hashes; then it is loaded, connectors
    against the fingerprints of the encoders. Raises what `load_bundle` raises, for every set.
    """
    directory = bundle_directory(name)
    manifest = read_manifest(directory)
    absent = []
    for entry in manifest.encoders.values():
        if entry.sha256 is not None and not (directory / str(entry.weights)).is_file():
            absent.append(Absent(str(directory / str(entry.weights)), _published(entry.name)))
    if absent:
        raise missing_files(absent)
    sets = {chosen: load_bundle(directory, connectors=chosen) for chosen in manifest.connectors}
    found = [
        (f"encoder {space}", f"{entry.name}: {'sha256 agrees' if entry.sha256 else 'no sha256 recorded'}")
        for space, entry in manifest.encoders.items()
    ]
    for chosen, space in sets.items():
        embeds = ", ".join(space.modalities)
        found.append((f"connectors {chosen}", f"{space.connector_version} fits the encoders: {embeds}"))
    return found


def list_bundles() -> list[tuple[Path, BundleManifest | IsthmusError]]:
    """The bundles that can be named without a path, each with its manifest or what is wrong with it."""
    roots = [SHIPPED, Path(os.environ.get("ISTHMUS_BUNDLES", "~/.isthmus/bundles")).expanduser()]
    listed: list[tuple[Path, BundleManifest | IsthmusError]] = []
    for file in sorted(file for root in roots for file in root.glob(f"*/{BUNDLE_FILE}")):
        try:
            listed.append((file.parent, read_manifest(file.parent)))
        except (ConfigError, MissingFiles) as error:
            listed.append((file.parent, error))
    return listed

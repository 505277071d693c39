"""What embedding costs: the full-size encoders beside the packages they come from, on the same weights.

    python benchmarks/encoders.py [--quick] [--json] [--threads N]

Weights are random, in the published architectures and layouts, so that nothing is downloaded. CLIP and CLAP
take turns with open_clip and laion_clap in this run, from decoded media to vectors; ULIP-2 has no package,
so PointBERT takes turns with its textbook form, as ULIP's code has it. Reduced number formats are measured
beside float32 with the lowest cosine between their vectors.
"""

# ruff: noqa: E402
import sys
from pathlib import Path

# Started as a script, this file's folder comes first in the path and would hide the package it measures.
sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != Path(__file__).parent]

import argparse
import copy
import importlib.util
import json
import platform
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional as F

from connectors import load_encoder
from connectors.encoder import TowerEncoder
from connectors.encoders.point_groups import farthest_points
from connectors.encoders.pointbert import CONFIGS, PointTransformer
from connectors.modality import Media, Modality
from connectors.precision import warm_up
from connectors.torchvision_operators import declare_missing_operators

Call = Callable[[], Tensor]
SENTENCE = "a dog barks at the postman while rain falls on the roof of an old house by the sea"


@dataclass(frozen=True)
class Row:
    """One measured figure, with the goal it has, if any."""

    name: str
    value: float
    unit: str
    goal: str | None = None
    holds: bool | None = None

    def json(self) -> dict[str, object]:
        """The row as JSON values; without a goal it holds nothing."""
        return {key: value for key, value in asdict(self).items() if value is not None}


ROUNDS = {1: 9, 4: 3, 8: 5, 32: 3}
"""How often each batch size is run: about five minutes in all on two idle cores."""


def times(rounds: int, *calls: Call) -> NDArray[np.float64]:
    """Milliseconds [rounds, calls] of calls that take turns, first to last and then last to first.

    So each is as often the earlier one; one round before is not counted.
    """
    taken = np.zeros((rounds + 1, len(calls)))
    with torch.inference_mode():
        for turn, row in enumerate(taken):
            for i in range(len(calls)) if turn % 2 else reversed(range(len(calls))):
                started = time.perf_counter()
                calls[i]()
                row[i] = 1000 * (time.perf_counter() - started)
    return taken[1:]


def media(modality: Modality, count: int) -> list[Media]:
    """Decoded media that differ: captions of 3 to 12 words, VGA pictures, 10 s clips, 8,192 points."""
    rng = np.random.default_rng(0)
    match modality:
        case "text":
            return [" ".join(rng.choice(SENTENCE.split(), rng.integers(3, 13))) for _ in range(count)]
        case "image":
            return [
                Image.fromarray(rng.integers(0, 255, (480, 640, 3), dtype=np.uint8)) for _ in range(count)
            ]
        case "audio":
            return [rng.normal(0, 0.1, 480_000).astype(np.float32) for _ in range(count)]
        case "point_cloud":
            return [rng.normal(0, 1, (8192, 3)).astype(np.float32) for _ in range(count)]


Load = Callable[[str], TowerEncoder]
"""The encoder in the number format named."""

Upstream = Callable[[Modality, list[Media]], Tensor]


def clip(folder: Path) -> tuple[Load, Upstream]:
    """ViT-B/32 with QuickGELU, and open_clip's own calls."""
    import open_clip

    model, _, transform = open_clip.create_model_and_transforms("ViT-B-32-quickgelu")
    model.eval()
    torch.save(model.state_dict(), folder / "clip.pt")
    tokenizer = open_clip.get_tokenizer("ViT-B-32-quickgelu")

    def upstream(modality: Modality, items: list[Media]) -> Tensor:
        if modality == "text":
            return model.encode_text(tokenizer(items), normalize=True)
        return model.encode_image(torch.stack([transform(item) for item in items]), normalize=True)

    name, path = "open_clip/ViT-B-32-quickgelu", folder / "clip.pt"
    return lambda dtype: load_encoder(name, path, dtype=dtype), upstream


def clap(folder: Path, size: str) -> tuple[Load, Upstream]:
    """HTS-AT without fusion, and laion_clap's own network and preprocessing."""
    sys.path.append(str(Path(importlib.util.find_spec("laion_clap").origin).parent))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import clap_module
        import clap_module.factory
        import clap_module.htsat

        config = copy.deepcopy(clap_module.factory._MODEL_CONFIGS[size])
        audio = clap_module.CLAPAudioCfp(**config["audio_cfg"])
        tower = clap_module.htsat.create_htsat_model(audio).eval()
    projection = nn.Sequential(nn.Linear(config["embed_dim"], 512), nn.ReLU(), nn.Linear(512, 512))
    parts = {"audio_branch": tower, "audio_projection": projection}
    tensors = {f"module.{n}.{k}": v for n, part in parts.items() for k, v in part.state_dict().items()}
    torch.save({"state_dict": tensors}, folder / f"{size}.pt")

    def upstream(_: Modality, items: list[Media]) -> Tensor:
        waves = [
            torch.from_numpy((np.clip(x, -1, 1) * 32767).astype(np.int16) / 32767).float() for x in items
        ]
        found = tower({"waveform": torch.stack(waves)}, device="cpu")["embedding"]
        return F.normalize(projection(found), dim=-1)

    path = folder / f"{size}.pt"
    return lambda dtype: load_encoder(f"laion_clap/{size}", path, dtype=dtype), upstream


def ulip(folder: Path) -> tuple[Load, Upstream]:
    """PointBERT, and its textbook form: convolutions, whole-row topk, sampling point by point."""
    network = PointTransformer(CONFIGS["pointbert"]).eval()
    projection = torch.randn(768, 512)
    tensors = {f"module.point_encoder.{k}": v for k, v in network.state_dict().items()}
    torch.save({"state_dict": {**tensors, "module.pc_projection": projection}}, folder / "ulip.pt")
    first, second = network.encoder.first_conv, network.encoder.second_conv

    def centres(points: Tensor) -> Tensor:
        nearest, chosen, rows = torch.full(points.shape[:2], 1e10), [], torch.arange(len(points))
        last = torch.zeros(len(points), dtype=torch.long)
        for _ in range(512):
            chosen.append(last)
            nearest = torch.minimum(nearest, ((points - points[rows, last, None]) ** 2).sum(-1))
            last = nearest.argmax(-1)
        return points[rows[:, None], torch.stack(chosen, 1)]

    def upstream(_: Modality, items: list[Media]) -> Tensor:
        points = torch.cat([encoder.prepare(item).rows for item in items])
        middle = centres(points)
        near = torch.cdist(middle, points).topk(32, largest=False, sorted=False).indices
        groups = points[torch.arange(len(points))[:, None, None], near] - middle[:, :, None]
        x = first(groups.flatten(0, 1).transpose(1, 2))
        x = second(torch.cat([x.max(2, keepdim=True)[0].expand_as(x), x], 1)).max(2)[0]
        tokens = network.reduce_dim(x.view(len(points), 512, -1))
        x = torch.cat([network.cls_token.expand(len(points), -1, -1), tokens], 1)
        at = torch.cat([network.cls_pos.expand(len(points), -1, -1), network.pos_embed(middle)], 1)
        for block in network.blocks.blocks:
            x = block(x + at)
        x = network.norm(x)
        return F.normalize(torch.cat([x[:, 0], x[:, 1:].max(1)[0]], -1) @ projection, dim=-1)

    def load(dtype: str) -> TowerEncoder:
        return load_encoder("ulip/pointbert", folder / "ulip.pt", dtype=dtype)

    encoder = load("float32")
    return load, upstream


def compare(
    name: str, encoder: TowerEncoder, load: Load, upstream: Upstream, batches: list[int]
) -> Iterator[Row]:
    """An encoder beside its upstream, then in reduced formats beside itself."""
    reduced = ("bfloat16", "int8") if tuple(encoder.quantisable()) else ("bfloat16",)
    formats = {dtype: load(dtype) for dtype in reduced}
    for modality in encoder.modalities:
        for batch in batches:
            items = media(modality, batch)
            calls: list[Call] = [
                lambda m=modality, i=items: encoder.encode(i, m),
                lambda m=modality, i=items: upstream(m, i),
                *(lambda m=modality, i=items, e=e: e.encode(i, m) for e in formats.values()),
            ]
            taken = times(ROUNDS[batch], *calls)
            ours, theirs, *others = np.median(taken, axis=0)
            share = float(np.median(taken[:, 0] / taken[:, 1]))
            label = f"{name} {modality} b{batch}"
            yield Row(label, float(ours), "ms")
            yield Row(f"{label} items/s", float(1000 * batch / ours), "/s")
            yield Row(f"{label} upstream", float(theirs), "ms")
            yield Row(f"{label} against upstream", share, "x", "<= 1", share <= 1)
            for dtype, value in zip(formats, others, strict=True):
                yield Row(f"{label} {dtype}", float(value), "ms")
        with torch.inference_mode():
            items = media(modality, batches[-1])
            exact = encoder.encode(items, modality)
            agreement = float((exact * upstream(modality, items)).sum(-1).min())
            yield Row(
                f"{name} {modality} cosine to upstream", agreement, "", ">= 0.9999", agreement >= 0.9999
            )
            for dtype, other in formats.items():
                cosine = float((exact * other.encode(items, modality)).sum(-1).min())
                yield Row(f"{name} {modality} cosine of {dtype}", cosine, "", ">= 0.999", cosine >= 0.999)


def start(name: str, encoder: TowerEncoder) -> Iterator[Row]:
    """What the first user waits beside the tenth, after warming up."""
    warm_up(encoder)
    modality = encoder.modalities[-1]
    items = media(modality, 1)
    waits = []
    for _ in range(10):
        started = time.perf_counter()
        encoder.encode(items, modality)
        waits.append(1000 * (time.perf_counter() - started))
    ratio = waits[0] / float(np.median(waits[1:]))
    yield Row(f"{name} {modality} first call after warm-up", ratio, "x the tenth", "<= 1.5", ratio <= 1.5)


def measure(quick: bool) -> Iterator[Row]:
    """Every row, encoder by encoder."""
    batches = [1, 4] if quick else [1, 8, 32]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        builders = {"clip": lambda: clip(folder), "clap": lambda: clap(folder, "HTSAT-tiny")}
        if not quick:
            builders["clap-base"] = lambda: clap(folder, "HTSAT-base")
        builders["ulip"] = lambda: ulip(folder)
        for name, build in builders.items():
            torch.manual_seed(0)
            load, upstream = build()
            encoder = load("float32")
            yield from start(name, encoder)
            yield from compare(name, encoder, load, upstream, batches)
            if name == "ulip":
                prepared = encoder.prepare(media("point_cloud", 1)[0])
                taken = times(
                    ROUNDS[1],
                    lambda e=encoder, p=prepared: e.encode_prepared([p]),
                    lambda p=prepared: farthest_points(p.rows, 512),
                )
                share = float(np.median(taken[:, 1] / taken[:, 0]))
                yield Row("ulip farthest point sampling, share of b1", share, "", "<= 0.25", share <= 0.25)


def main() -> None:
    """Print the table, and with --json one JSON object on the last line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="batches 1 and 4, the tiny CLAP")
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    declare_missing_operators()
    rows = list(measure(options.quick))
    table = Table("what", "value", "unit", "goal", "holds", box=None)
    for row in rows:
        holds = "" if row.holds is None else "yes" if row.holds else "[red]no[/]"
        table.add_row(row.name, f"{row.value:.4g}", row.unit, row.goal or "", holds)
    Console(width=120).print(table)
    if options.json:
        machine = {"processor": platform.processor() or platform.machine(), "torch": torch.__version__}
        machine |= {"threads": options.threads}
        found = [row.json() for row in rows]
        print(json.dumps({"benchmark": "encoders", "machine": machine, "rows": found}))


if __name__ == "__main__":
    main()

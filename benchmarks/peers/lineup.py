"""Who is measured beside whom on ViT-B/32: a command, what it speaks, and what is missing if it cannot run.

Given the bundle, the Hugging Face folder and the directory that install.sh filled, gives the peers in order.
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.http_load.media import Body, embed_body, infinity_body
from benchmarks.http_load.servers import isthmus

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
KINDS = ("text", "image")
DEFAULT = "Isthmus, default precision"
EXACT = "Isthmus, float32"
INFINITY = "infinity"


@dataclass(frozen=True)
class Peer:
    """A server to be measured on some kinds. `command` ends with a port where `needs_port`."""

    name: str
    command: list[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    kinds: tuple[str, ...] = KINDS
    body: Body = embed_body
    health: str = "/readyz"
    needs_port: bool = False
    needs: Path | None = None

    @property
    def missing(self) -> str | None:
        """Why it cannot be run here, or None."""
        if self.needs is None or self.needs.exists():
            return None
        return f"{self.needs} is not there: run benchmarks/peers/install.sh"


def lineup(bundle: Path, hugging_face: Path, installed: Path, data_dir: Path) -> list[Peer]:
    """Every peer; those of `installed` may be missing."""
    ours = {"ISTHMUS_CACHE_ITEMS": "0", "PYTHONPATH": str(ROOT)}
    plain = [sys.executable, "-m", "benchmarks.peers.plain", str(bundle)]
    lit_path = os.pathsep.join([str(ROOT), str(installed / "litserve")])
    infinity = installed / "infinity/bin/infinity_emb"
    return [
        Peer(EXACT, isthmus(str(bundle), data_dir / "exact"), {**ours, "ISTHMUS_DTYPE": "float32"}),
        Peer(DEFAULT, isthmus(str(bundle), data_dir / "default"), ours),
        Peer("plain FastAPI, float32", [*plain, "float32"], {"PYTHONPATH": str(ROOT)}),
        *(
            Peer(
                f"{INFINITY}, {dtype}",
                [
                    *[str(infinity), "v2", "--model-id", str(hugging_face), "--served-model-name", "clip"],
                    *["--engine", "torch", "--device", "cpu", "--dtype", dtype],
                    *["--no-bettertransformer", "--no-model-warmup", "--host", "127.0.0.1", "--port"],
                ],
                {
                    "PYTHONPATH": str(HERE / "infinity"),
                    "HF_HUB_OFFLINE": "1",
                    "INFINITY_ANONYMOUS_USAGE_STATS": "0",
                },
                body=infinity_body,
                health="/health",
                needs_port=True,
                needs=infinity,
            )
            for dtype in ("float32", "int8")
        ),
        *(
            Peer(
                "LitServe, float32",
                [sys.executable, "-m", "benchmarks.peers.lit_serve", str(bundle), "float32", kind],
                {"PYTHONPATH": lit_path},
                kinds=(kind,),
                health="/health",
                needs_port=True,
                needs=installed / "litserve",
            )
            for kind in KINDS
        ),
    ]


def vectors_of(reply: Mapping[str, Any]) -> list[list[float]]:
    """The vectors in a reply, Isthmus' or OpenAI's."""
    if "data" in reply:
        return [item["embedding"] for item in reply["data"]]
    return [item["vector"] for item in reply["items"]]

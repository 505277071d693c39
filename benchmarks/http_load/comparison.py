"""ViT-B/32 served by Isthmus and by its peers in turn, in one run, with the same weights and media."""

import asyncio
import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import httpx
import numpy as np

from benchmarks._rows import Row, at_least
from benchmarks.http_load.loops import Load, closed_loop
from benchmarks.http_load.media import content, http_requests
from benchmarks.http_load.servers import free_port, running
from benchmarks.peers import vit_b_32
from benchmarks.peers.lineup import DEFAULT, EXACT, INFINITY, KINDS, Peer, lineup, vectors_of

ITEMS = 512
"""Different items of each kind: more than are under way at once, of which Isthmus embeds equal ones once."""
COMPARED = 8
"""Items whose vectors are compared between servers."""

Loads = dict[tuple[str, str, int], Load]


def compare(
    installed: Path, concurrencies: tuple[int, ...], seconds: float, tell: Callable[[str], None]
) -> list[Row]:
    """Rates, latencies and vectors of every peer; `tell` hears which one is at it."""
    contents = {kind: [content(kind, seed) for seed in range(ITEMS)] for kind in KINDS}
    loads: Loads = {}
    vectors: dict[tuple[str, str], np.ndarray] = {}
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as scratch:
        bundle, hugging_face = vit_b_32.write(Path(scratch))
        for peer in lineup(bundle, hugging_face, installed, Path(scratch)):
            tell(peer.name)
            missing = peer.missing
            if missing is None:
                try:
                    _measure(peer, contents, concurrencies, seconds, loads, vectors)
                except (RuntimeError, httpx.HTTPError, OSError, EOFError) as error:
                    missing = (str(error).strip() or type(error).__name__).splitlines()[-1]
            if missing is not None:
                tell(f"not measured: {missing}")
                rows.append(Row(f"{peer.name}, {' and '.join(peer.kinds)}: not measured: {missing}", 0))
    return [*rows, *_agreement(vectors), *_table(loads), *_goals(loads, concurrencies)]


def _measure(
    peer: Peer,
    contents: Mapping[str, list[bytes]],
    concurrencies: tuple[int, ...],
    seconds: float,
    loads: Loads,
    vectors: dict[tuple[str, str], np.ndarray],
) -> None:
    """One peer's loads and vectors, added to what was measured."""
    port = free_port() if peer.needs_port else None
    command = [*peer.command, str(port)] if port else peer.command
    with running(command, environment=peer.environment, health=peer.health, port=port) as server:
        for kind in peer.kinds:
            vectors[peer.name, kind] = _vectors(peer, server.port, kind, contents[kind])
            requests = http_requests(kind, contents[kind], 1, peer.body)
            asyncio.run(closed_loop(server.port, requests, 8, seconds / 2))
            for concurrency in concurrencies:
                longer = 2 if concurrency > 32 else 1  # as batches then come, and their answers, at once
                load = asyncio.run(closed_loop(server.port, requests, concurrency, longer * seconds))
                loads[peer.name, kind, concurrency] = load


def _vectors(peer: Peer, port: int, kind: str, contents: list[bytes]) -> np.ndarray:
    """Vectors [n, d], L2-normalised, of the first items."""
    found = []
    for each in contents[:COMPARED]:
        path, body = peer.body(kind, [each])
        reply = httpx.post(f"http://127.0.0.1:{port}{path}", json=body, timeout=120)
        reply.raise_for_status()
        found += vectors_of(json.loads(reply.content))
    matrix = np.array(found, dtype=np.float64)
    return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)


def _agreement(vectors: Mapping[tuple[str, str], np.ndarray]) -> list[Row]:
    """The least cosine of every server's vectors to those of Isthmus in float32."""
    rows = []
    for (name, kind), matrix in vectors.items():
        if name == EXACT:
            continue
        label, cosine = (
            f"{kind}: least cosine to {EXACT}: {name}",
            (matrix * vectors[EXACT, kind]).sum(1).min(),
        )
        comparable = name == DEFAULT or name.endswith("float32")
        rows.append(at_least(label, float(cosine), "", 0.999) if comparable else Row(label, float(cosine)))
    return rows


def _table(loads: Loads) -> list[Row]:
    rows = []
    for (name, kind, concurrency), load in sorted(loads.items(), key=lambda each: each[0][1:]):
        label = f"{kind}, concurrency {concurrency}: {name}"
        rows.append(Row(label, load.rate, "items/s"))
        rows.append(Row(f"{label}, p50", load.percentile(50), "ms"))
        rows.append(Row(f"{label}, p99", load.percentile(99), "ms"))
    return rows


def _goals(loads: Loads, concurrencies: tuple[int, ...]) -> list[Row]:
    """Isthmus beside infinity: at equal precision everywhere, and as each is at its best."""
    rows = []
    exact_infinity = f"{INFINITY}, float32"
    for kind in KINDS:
        for concurrency in concurrencies:
            theirs = loads.get((exact_infinity, kind, concurrency))
            if theirs is not None and (EXACT, kind, concurrency) in loads:
                share = loads[EXACT, kind, concurrency].rate / theirs.rate
                goal = 1.5 if (kind, concurrency) == ("text", 8) else 1.0
                name = f"{kind}, concurrency {concurrency}: Isthmus over infinity, both float32"
                rows.append(at_least(name, share, "x", goal))
        best = [load.rate for (name, k, _), load in loads.items() if name.startswith(INFINITY) and k == kind]
        if best:
            ours = max(loads[DEFAULT, kind, concurrency].rate for concurrency in concurrencies)
            name = f"{kind}: {DEFAULT} over infinity's best setting, each at its best concurrency"
            rows.append(at_least(name, ours / max(best), "x", 2.5))
    return rows

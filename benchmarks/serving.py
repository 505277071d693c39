"""What serving over a real socket costs, beside the encoder alone, other servers, and too many requests.

    python benchmarks/serving.py [--bundle compact] [--kinds text image] [--quick] [--json]
    python benchmarks/serving.py --full-size      the encoders of `full`, with random weights
    python benchmarks/serving.py --peers [DIR]    ViT-B/32 beside infinity, LitServe and plain FastAPI
    python benchmarks/serving.py --overload       ten times what it can take
    python benchmarks/serving.py --soak 200000    memory over that many mixed requests

Servers run in processes of their own, Isthmus without its cache; this process makes the load, out of media
files on disk, one item a request unless the row says otherwise. The plain endpoint is FastAPI over the same
encoders without batching. The raw loop is decoding and encoding in this process, with no server at all.
"""

# ruff: noqa: E402
import sys
from pathlib import Path

# Started as a script, this file's folder comes first in the path and would hide the packages it measures.
HERE = Path(__file__).resolve().parent
sys.path[:] = [str(HERE.parent), *(entry for entry in sys.path if Path(entry).resolve() != HERE)]

import asyncio
import os
import tempfile
from collections.abc import Sequence

import numpy as np
import uvloop

from benchmarks._rows import Row, at_least, at_most, parser, publish
from benchmarks.http_load import full_size, steadiness
from benchmarks.http_load.comparison import compare
from benchmarks.http_load.loops import Load, closed_loop
from benchmarks.http_load.media import KINDS, embed_body, http_requests, write_files
from benchmarks.http_load.raw_loop import BATCHES, Costs, RawLoop
from benchmarks.http_load.servers import Running, isthmus, running
from benchmarks.peers import vit_b_32

CONCURRENCIES = (1, 8, 32, 128)
TEXTS = 4096
"""Different texts: enough that no two equal ones are under way, of which Isthmus embeds one."""
BULK = 32
"""Texts a request in the rows of bulk users."""
ROUNDS = 9
"""Turns of encoder and server of which the latency that a request alone adds is the median."""
OURS, PLAIN = "isthmus", "plain FastAPI"
ENVIRONMENT = {"PYTHONPATH": os.pathsep.join(filter(None, [str(HERE.parent), os.environ.get("PYTHONPATH")]))}


def measure(bundle: str | None, quick: bool, kinds: Sequence[str]) -> list[Row]:
    """Some kinds beside the raw loop and the plain endpoint; `bundle` None: random full-size encoders."""
    seconds, count, concurrencies = (0.8, 96, BATCHES) if quick else (6.0, 256, CONCURRENCIES)
    loads: dict[tuple[str, str, int], Load] = {}
    added: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as scratch:
        bundle = bundle or str(full_size.write(Path(scratch) / "full"))
        counts = {kind: TEXTS if kind == "text" else count for kind in kinds}
        files = {kind: write_files(Path(scratch), kind, counts[kind]) for kind in kinds}
        contents = {kind: [path.read_bytes() for path in paths] for kind, paths in files.items()}
        loop = RawLoop(
            bundle, {kind: each[: count // 3 if quick else count] for kind, each in contents.items()}
        )
        raw = {kind: loop.costs(kind) for kind in kinds}
        requests = {kind: http_requests(kind, contents[kind], 1, embed_body) for kind in kinds}
        peers = {
            OURS: isthmus(bundle, Path(scratch) / "data"),
            PLAIN: [sys.executable, "-m", "benchmarks.peers.plain", bundle],
        }
        for peer, command in peers.items():
            with running(command, environment={**ENVIRONMENT, "ISTHMUS_CACHE_ITEMS": "0"}) as server:
                for kind in kinds:
                    asyncio.run(closed_loop(server.port, requests[kind], 8, seconds / 2))
                    for concurrency in concurrencies:
                        load = asyncio.run(closed_loop(server.port, requests[kind], concurrency, seconds))
                        loads[peer, kind, concurrency] = load
                if peer == OURS:
                    for kind in kinds:
                        alone = _alone(server, requests[kind], loop, kind, seconds / 8)
                        added[kind] = alone - raw[kind].decode
                    histogram = _histogram(server)
                    if "text" in kinds:
                        bulk = http_requests("text", contents["text"], BULK, embed_body)
                        bulk_load = asyncio.run(closed_loop(server.port, bulk, 8, 2 * seconds))
    rows = []
    for kind in kinds:
        ours = {c: loads[OURS, kind, c] for c in concurrencies}
        rows += _beside_raw(kind, raw[kind], ours, added[kind])
        if kind == "text":
            share = bulk_load.rate * BULK * (raw[kind].decode + raw[kind].best) / 1000
            rows.append(
                Row(f"text, {BULK} a request, concurrency 8: {OURS}", bulk_load.rate * BULK, "items/s")
            )
            rows.append(at_least(f"text, {BULK} a request: of decode + encoder", share, "", 0.95))
        for concurrency in concurrencies:
            for peer in peers:
                rows += _timings(f"{kind}, concurrency {concurrency}: {peer}", loads[peer, kind, concurrency])
    return [*rows, *histogram]


def _alone(server: Running, requests: Sequence[bytes], loop: RawLoop, kind: str, seconds: float) -> float:
    """Milliseconds a request alone takes more than the encoder alone, the two measured in turn.

    What else the machine does changes from minute to minute, and by more than what is to be seen here.
    """
    differences = []
    for _ in range(ROUNDS):
        encoder = float(np.median(loop.one_by_one(kind, seconds)))
        served = asyncio.run(closed_loop(server.port, requests, 1, seconds))
        differences.append(served.percentile(50) - encoder)
    return float(np.median(differences))


def _beside_raw(kind: str, raw: Costs, ours: dict[int, Load], added: float) -> list[Row]:
    """What the server adds to decoding and the encoder: when it is full, and for one at a time."""
    share = max(load.rate for load in ours.values()) * (raw.decode + raw.best) / 1000
    return [
        Row(f"{kind}: decoding alone", raw.decode, "ms"),
        *(
            Row(f"{kind}: encoder alone in batches of {size}", 1000 / cost, "items/s")
            for size, cost in raw.encode.items()
        ),
        at_least(f"{kind}: saturated, of decode + encoder", share, "", 0.95),
        at_most(f"{kind}: p50 added at concurrency 1", added, "ms", 3),
    ]


def _timings(name: str, load: Load) -> Sequence[Row]:
    return (
        Row(name, load.rate, "items/s"),
        Row(f"{name}, p50", load.percentile(50), "ms"),
        Row(f"{name}, p99", load.percentile(99), "ms"),
    )


def _histogram(server: Running) -> list[Row]:
    """How many batches of each size the server ran, of one item a request."""
    return [
        Row(f"{kind}: batches of up to {bound} items", batches, "batches")
        for kind, sizes in server.batch_sizes().items()
        for bound, batches in sorted(sizes.items())
        if batches
    ]


def overload(bundle: str | None, kinds: Sequence[str], seconds: float) -> list[Row]:
    """Ten times the saturated rate, on a server with a short queue: of ViT-B/32, unless a bundle is named."""
    environment = {
        **ENVIRONMENT,
        "ISTHMUS_CACHE_ITEMS": "0",
        "ISTHMUS_QUEUE_ITEMS": str(steadiness.QUEUE_ITEMS),
    }
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        served = bundle or str(vit_b_32.write(Path(scratch))[0])
        for kind in kinds:
            with running(isthmus(served, Path(scratch) / kind), environment=environment) as server:
                rows += steadiness.overload(server, kind, seconds)
    return rows


def soak(bundle: str, count: int) -> list[Row]:
    """Mixed requests, on a server whose cache is full long before the memory is read first."""
    environment = {**ENVIRONMENT, "ISTHMUS_CACHE_ITEMS": str(steadiness.SOAK_CACHE)}
    with (
        tempfile.TemporaryDirectory() as data,
        running(isthmus(bundle, Path(data)), environment=environment) as server,
    ):
        return steadiness.soak(server, count, _tell)


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Measure what the options ask for and print it."""
    options_of = parser(__doc__, quick="under a minute on 2 cores")
    options_of.add_argument("--bundle", help="compact if not named; of --overload ViT-B/32")
    options_of.add_argument(
        "--kinds", nargs="+", choices=KINDS, default=KINDS, help="of the first two, in place of all"
    )
    options_of.add_argument("--full-size", action="store_true", help="ViT-B/32, HTSAT-tiny and PointBERT")
    options_of.add_argument(
        "--peers", nargs="?", type=Path, const=HERE.parent / ".peers", help="where install.sh put them"
    )
    options_of.add_argument("--overload", action="store_true", help="an open loop at ten times the capacity")
    options_of.add_argument("--soak", type=int, metavar="N", help="so many mixed requests")
    options = options_of.parse_args()
    bundle = options.bundle or "compact"
    uvloop.install()
    if options.peers is not None:
        concurrencies, seconds = ((1, 8), 0.5) if options.quick else (CONCURRENCIES, 5.0)
        rows = compare(options.peers, concurrencies, seconds, _tell)
    elif options.overload:
        kinds, seconds = (("text",), 2.0) if options.quick else (("text", "image"), 90.0)
        rows = overload(options.bundle or ("compact" if options.quick else None), kinds, seconds)
    elif options.soak is not None:
        rows = soak(bundle, options.soak)
    else:
        rows = measure(None if options.full_size else bundle, options.quick, options.kinds)
    publish("serving", rows, as_json=options.json, title="serving")


if __name__ == "__main__":
    main()

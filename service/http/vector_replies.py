"""Binary replies of `POST /embed`, for large numbers of items: vectors as bytes, or an Arrow stream.

The request's `Accept` chooses the form. JSON is the default, and every error is JSON.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from starlette.requests import Request
from starlette.responses import Response

from connectors.errors import IsthmusError
from service.engine.embedding import Embedding, Vectors
from service.errors import NotAcceptable
from service.http.replies import item_reply
from service.pipeline import EmbedInput, Outcome

BYTES = "application/octet-stream"
ARROW = "application/vnd.apache.arrow.stream"

BINARY_REPLIES: Mapping[str, Any] = {
    content_type: {"schema": {"type": "string", "format": "binary", "description": description}}
    for content_type, description in {
        BYTES: "The vectors, little-endian float32, row after row. X-Vector-Shape is their n,d; the rows "
        "of items that failed, listed in X-Failed-Items, are NaN. X-Truncated-Items and "
        "X-Not-Understood-Items list texts that were cut, and those of which no word is known.",
        ARROW: "One record batch: index, id, modality, vector (fixed-size list of float32), error, message.",
    }.items()
}
"""Their descriptions in OpenAPI."""


def wanted_type(request: Request) -> str | None:
    """Return the binary type that `Accept` prefers to JSON, or None."""
    accept = request.headers.get("accept", "")
    if BYTES not in accept and ARROW not in accept:
        return None
    weights: dict[str, float] = {}
    for part in accept.split(","):
        name, *parameters = (piece.strip() for piece in part.lower().split(";"))
        quality = next((p[2:] for p in parameters if p.startswith("q=")), "1")
        weights[name] = float(quality) if quality.replace(".", "", 1).isdecimal() else 0.0
    best = max((BYTES, ARROW), key=lambda name: weights.get(name, 0.0))
    preferred = weights.get(best, 0.0)
    return best if preferred and preferred >= weights.get("application/json", 0.0) else None


def check_available(wanted: str | None) -> None:
    """Raise `NotAcceptable` where Arrow is wanted and pyarrow is not installed."""
    if wanted != ARROW:
        return
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise NotAcceptable(
            "this service writes no Arrow: install isthmus[parquet], or accept application/octet-stream"
        ) from error


def vector_reply(
    wanted: str, dim: int, model: Mapping[str, str], inputs: Sequence[EmbedInput], outcomes: Sequence[Outcome]
) -> Response:
    """Return the reply with the vectors [n, dim] of a request's items, in one of the two binary types."""
    vectors = np.full((len(outcomes), dim), np.nan, dtype="<f4")
    failed = []
    for i, outcome in enumerate(outcomes):
        if isinstance(outcome, IsthmusError):
            failed.append(i)
        else:
            vectors[i] = outcome.vectors.unified
    headers = {
        "x-vector-shape": f"{len(outcomes)},{dim}",
        "x-vector-dtype": "<f4",
        "x-failed-items": ",".join(map(str, failed)),
        "x-truncated-items": _places(outcomes, lambda vectors: vectors.given is not None),
        "x-not-understood-items": _places(outcomes, lambda vectors: not vectors.understood),
        "x-model": f"{model['bundle']}/{model['connector']}",
    }
    content = vectors.tobytes() if wanted == BYTES else _arrow_stream(vectors, model, inputs, outcomes)
    return Response(content, headers=headers, media_type=wanted)


def _places(outcomes: Sequence[Outcome], told: Callable[[Vectors], bool]) -> str:
    """Return the indices of the items whose vectors `told` selects, as a header has them."""
    embedded = ((i, each) for i, each in enumerate(outcomes) if isinstance(each, Embedding))
    return ",".join(str(i) for i, each in embedded if told(each.vectors))


def _arrow_stream(
    vectors: npt.NDArray[np.float32],
    model: Mapping[str, str],
    inputs: Sequence[EmbedInput],
    outcomes: Sequence[Outcome],
) -> bytes:
    """Return an Arrow IPC stream of one record batch; a failed item has no vector, but its error."""
    import pyarrow as pa

    replies = [item_reply(i, *pair, False) for i, pair in enumerate(zip(inputs, outcomes, strict=True))]
    failed = np.array(["error" in item for item in replies])
    flat = pa.array(vectors.ravel(), pa.float32())
    columns = {
        "index": pa.array(range(len(replies)), pa.int32()),
        "id": pa.array([item["id"] for item in replies], pa.string()),
        "modality": pa.array([item["modality"] for item in replies], pa.string()),
        "vector": pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1], mask=pa.array(failed)),
        "error": pa.array([item.get("error", {}).get("code") for item in replies], pa.string()),
        "message": pa.array([item.get("error", {}).get("message") for item in replies], pa.string()),
    }
    batch = pa.RecordBatch.from_pydict(columns)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema.with_metadata(dict(model))) as writer:
        writer.write_batch(batch.replace_schema_metadata(dict(model)))
    written: bytes = sink.getvalue().to_pybytes()
    return written

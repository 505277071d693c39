"""One item of an embed request with what goes with it, from the body to the index.

Holds `Entry` and the steps that are the same however the body was written: embedding entries, writing them to
the media store and the index, and wording the outcome.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from connectors.errors import IsthmusError
from connectors.space import UnifiedSpace
from service.bodies import Metadata
from service.engine.embedding import Embedding
from service.engine.media_input import MediaInput
from service.engine.projection import project_anew
from service.error_replies import item_body
from service.errors import BatchFailed, InvalidRequest, ItemError
from service.index.protocol import Point
from service.media_store import upsert_with_media
from service.request_context import RequestContext
from service.runtime import Runtime


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One item to embed; `item` is the error where its body already could not be read."""

    item: MediaInput | IsthmusError
    id: str | None = None
    metadata: Metadata | None = None


Outcome = Embedding | IsthmusError


def check_entries(entries: Sequence[Entry], max_items: int) -> None:
    """Raise `InvalidRequest` for no items, too many, or two with one id."""
    check_count(len(entries), max_items, "items")
    seen: dict[str, int] = {}
    for index, entry in enumerate(entries):
        if entry.id is not None and seen.setdefault(entry.id, index) != index:
            raise InvalidRequest(f"items {seen[entry.id]} and {index} have the same id {entry.id!r}", "ids")


def check_count(count: int, max_items: int, param: str) -> None:
    """Raise `InvalidRequest` for a request of no items, or of too many."""
    if not count:
        raise InvalidRequest("there is nothing to embed: send at least one item", param)
    if count > max_items:
        raise InvalidRequest(f"{count} items are too many for one request; the limit is {max_items}", param)


async def embed_inputs(
    runtime: Runtime,
    context: RequestContext,
    inputs: Sequence[MediaInput | IsthmusError],
    seconds_left: float,
    space: UnifiedSpace | None = None,
) -> list[Outcome]:
    """Embed the inputs that could be read, in `space` or the one in use, keeping errors at their places."""
    outcomes: list[Outcome | None] = [each if isinstance(each, IsthmusError) else None for each in inputs]
    readable = [each for each in inputs if not isinstance(each, IsthmusError)]
    embedded = iter(await runtime.engine.embed(readable, seconds_left, space))
    complete = [next(embedded) if outcome is None else outcome for outcome in outcomes]
    context.add(each.stages for each in complete if isinstance(each, Embedding))
    return complete


def raise_if_all_failed(outcomes: Sequence[Outcome]) -> None:
    """Raise `BatchFailed` unless at least one item went well."""
    errors = [ItemError(i, each) for i, each in enumerate(outcomes) if isinstance(each, IsthmusError)]
    if len(errors) == len(outcomes):
        raise BatchFailed(errors)


async def store(
    runtime: Runtime,
    context: RequestContext,
    collection: str,
    entries: Sequence[Entry],
    outcomes: Sequence[Outcome],
) -> None:
    """Write what was embedded: media first, so that no indexed point ever lacks its own.

    Vectors are written in the space the index holds then, whatever they were embedded in.
    """
    created = datetime.now(UTC).isoformat(timespec="milliseconds")

    def write(space: UnifiedSpace) -> None:
        connector = space.connector_version
        with runtime.media.adding() as media:
            points: dict[str, Point] = {}
            for entry, outcome in zip(entries, outcomes, strict=True):
                if isinstance(outcome, IsthmusError) or isinstance(entry.item, IsthmusError):
                    continue
                data = entry.item.read()
                vectors = outcome.vectors
                if vectors.connector != connector:
                    vectors = project_anew(space, outcome.modality, vectors)
                payload: dict[str, Any] = {
                    "media": media.put_soon(data),
                    "mime": outcome.mime,
                    "sha256": outcome.sha256,
                    "name": entry.item.filename,
                    "metadata": entry.metadata or {},
                    "connector": connector,
                    "created": created,
                }
                if outcome.modality == "text":
                    payload["text"] = data.decode("utf-8")
                point_id = entry.id or outcome.sha256
                points[point_id] = Point(
                    point_id,
                    outcome.modality,
                    space.space_of(outcome.modality),
                    vectors.unified,
                    vectors.native,
                    payload,
                )
            media.settle()
            upsert_with_media(runtime.index, runtime.media, collection, list(points.values()), connector)

    await runtime.in_one_space(lambda space: runtime.call_index(context, partial(write, space)))


def item_reply(index: int, entry: Entry, outcome: Outcome, with_vector: bool) -> dict[str, Any]:
    """What the reply says of one item."""
    if isinstance(outcome, IsthmusError):
        return {
            "index": index,
            "id": entry.id,
            "modality": None,
            "error": item_body(outcome, f"items[{index}]"),
        }
    reply: dict[str, Any] = {
        "index": index,
        "id": entry.id or outcome.sha256,
        "modality": outcome.modality,
    }
    if with_vector:
        reply["vector"] = outcome.vectors.unified.tolist()
    return reply


def model_reply(space: UnifiedSpace) -> dict[str, str]:
    """What a reply says of the space its vectors are in."""
    return {"bundle": space.name, "connector": space.connector_version}
